"""What an admin's desk believes of the proposals that it hears of, and when it tells of its own."""

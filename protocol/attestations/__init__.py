"""What somebody vouches for in a file for others: in-toto statements about runs."""

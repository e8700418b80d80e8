"""Who is in a federation, how that changes, and who can read what."""

"""What follows a run that another leads has: a client and a standby hear of it, verify it, and wait for its app."""

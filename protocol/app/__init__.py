"""What the app process and the peer say to each other."""

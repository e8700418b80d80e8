"""What an admin's desk does for an admin while a peer stands: it lets newcomers in, and passes proposals on."""

"""An admin's part in an election: it learns who is there, signs a warrant, and waits until the server leads."""

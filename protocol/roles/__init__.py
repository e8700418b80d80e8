"""The roles of a peer as state machines without I/O: what happened goes in, what is to be done comes out."""

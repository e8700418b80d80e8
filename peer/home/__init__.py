"""What belongs to a peer, in one folder: keys, federations, the journal."""

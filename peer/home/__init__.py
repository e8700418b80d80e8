"""What belongs to a peer, in one folder of its owner's: keys, federations, the journal."""

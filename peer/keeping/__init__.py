"""What stays on disk in a home, what goes, and how much of it there is. `protocol.keeping` has the rules."""

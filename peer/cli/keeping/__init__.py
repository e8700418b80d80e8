"""What stays on disk: `peer du`, `peer keep`, `peer forget`."""

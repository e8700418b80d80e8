"""What a Kubo node holds: blocks, pins, and contents that come from other nodes."""

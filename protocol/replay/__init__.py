"""What a replay compares, and what a difference means. Pure."""

"""What replies hold, and what the strategy in use takes of them."""

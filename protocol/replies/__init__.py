"""Which replies an app may see: what the owner asks of them, and what the strategy in use takes."""

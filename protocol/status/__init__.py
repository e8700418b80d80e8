"""What a role is doing, for its owner to see: read from its parts, and never the base of a decision."""

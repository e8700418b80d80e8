"""What peers say to each other: announcements on pubsub, sealed and gated, and questions over streams."""

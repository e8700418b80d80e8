"""What a leader's app waits for: its open messages, the replies to them, and those that come late."""

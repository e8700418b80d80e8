"""Whether members' nodes can reach each other, and what is in the way if not."""

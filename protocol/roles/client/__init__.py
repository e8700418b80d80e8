"""The client's role: it follows runs, answers their messages, and signs what it has verified."""

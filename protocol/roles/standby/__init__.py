"""The standby's role: it follows a run that another server leads, replays it as it goes on, and signs what it finds."""

"""What of a run's contents stays on disk, and which may go. Records stay for ever."""

"""The server role: it stands by in a run that another server leads, or leads one itself."""

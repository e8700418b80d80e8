"""The app process as the peer sees it: which app runs, where it is unpacked, how the peer starts and talks to it."""

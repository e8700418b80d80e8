"""The app's process as the peer sees it: which app, where it is unpacked, how it is started and spoken to."""

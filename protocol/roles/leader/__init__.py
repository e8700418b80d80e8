"""The server's role: it leads one run, records it, and collects the replies."""

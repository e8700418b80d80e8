"""The server role: leads one run, records it, and collects the replies."""

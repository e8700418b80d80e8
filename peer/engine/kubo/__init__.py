"""The ``kubo`` engine: an IPFS node, managed or the user's own, through its RPC API."""

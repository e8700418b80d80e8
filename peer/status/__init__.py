"""The status of a home: what its running peer does, or what its journal says if none runs."""

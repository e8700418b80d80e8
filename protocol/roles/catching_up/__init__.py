"""The parts of catching up with a run: fetched records, the way back from a head, and the claims of other servers."""

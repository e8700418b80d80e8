"""The parts of catching up with a run (`protocol.roles.catch_up`): fetched records, and the way back from a head."""

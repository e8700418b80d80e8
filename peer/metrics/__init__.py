"""The numbers of a run, handed on to other tools, once or as they come."""

"""The queue of a standing server: who may ask for a run, what is taken, what begins next."""

"""Checkpoints: the state of all workers in files, from which a run goes on bit for bit."""

"""Floor 0: the contracts (samples, learners, teams, strategies), and what all floors share (errors, randomness)."""

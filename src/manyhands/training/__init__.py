"""Floor 3: the plan of a run, the one training loop, its clock and events, and what comes out of it."""

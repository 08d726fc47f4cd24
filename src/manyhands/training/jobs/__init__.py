"""Jobs of processes: reading data in all processes of one, and those that are started for a run."""

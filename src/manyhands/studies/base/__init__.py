"""What all studies share: the base, its ledger, the task pool, tuning."""

"""What all studies share: ledger, journal, task pool, statistics, sealed records."""

"""What a measurement is and how it is written: sealed records, their fields, statistics, laws, environment."""

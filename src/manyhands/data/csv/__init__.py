"""CSV files: reading whole, in pieces, and saying what is wrong with one."""

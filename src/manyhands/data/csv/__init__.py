"""CSV files: reading them, whole or in pieces, and finding what is wrong with one."""

"""Data sets in parts: files that are read block by block while a run trains, in memory that does not grow with them."""

"""The study of every strategy and merge."""

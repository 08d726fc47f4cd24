"""The study of every setting of a network."""

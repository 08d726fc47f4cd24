"""The study that searches a grid of networks."""

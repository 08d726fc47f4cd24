"""A network that several workers hold together: each has slices of the layers (node and weight parallelism)."""

"""The study of classifiers that may be better suited for parallel training than neural networks."""

"""The study of the levels of parallelism: what dividing samples or the network costs, beside what a model says."""

"""Learner `mlp`: our own fast multilayer perceptron.

`network` (settings and layout, light to import), `learner` (the class that the rest of the package sees), and the
compiled mathematics: `kernels` (a training step, in reading order) calls `elementwise`, `tiles`, `blas` and
`optimizers`; `forms` says what they work on.
"""

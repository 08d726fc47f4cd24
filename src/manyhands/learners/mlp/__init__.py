"""Learner `mlp`: our own fast multilayer perceptron.

`network` (settings and layout, light to import), `kernels` (the compiled mathematics), `blas` (the matrix product they
call) and `learner` (the class that the rest of the package sees).
"""

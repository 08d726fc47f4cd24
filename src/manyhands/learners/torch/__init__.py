"""Learners whose network is a PyTorch module: any of the user's own, and convolutional networks that come along.

PyTorch is imported by the modules of this folder only, and only when such a learner is made: it is an extra.
"""

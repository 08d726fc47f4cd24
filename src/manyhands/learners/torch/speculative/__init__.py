"""Speculative back-propagation: a learner whose backward passes run beside forward ones."""

"""The study of speculative back-propagation."""

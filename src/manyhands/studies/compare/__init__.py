"""The study that compares strategies and numbers of workers."""

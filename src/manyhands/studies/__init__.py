"""Floor 4: repeated, timed runs over a grid of settings, with statistics."""

"""Floor 1: the ways workers talk. One file per kind of team; all give the same bits."""

"""The machine room: compiled code, shared reductions, memory, cores, signals, atomic files."""

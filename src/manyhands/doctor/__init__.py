"""Facts about this machine, and advice that follows from them, for ``manyhands doctor``."""

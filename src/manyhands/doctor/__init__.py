"""What this machine is, how fast, and what is missing on it: the facts behind ``manyhands doctor``."""

"""Records of measurements: their fields, checksums, statistics, scaling laws and environment."""

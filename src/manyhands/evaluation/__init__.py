"""One model on samples that it has not seen: diagnostics, calibration, text."""

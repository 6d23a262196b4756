"""Post-training: what is done to a model with calibration data, and no training."""

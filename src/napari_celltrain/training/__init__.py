"""Training: settings, prepared data, crops, augmentation, targets, the loop, the run folder."""

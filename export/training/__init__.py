"""Training: a dataset folder in, checkpoints that `msdk_rt.export` takes out."""

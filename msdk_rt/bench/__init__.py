"""The speed of a model on this machine: latency of a window, stages of a volume, cost of every op."""

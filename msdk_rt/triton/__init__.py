"""For NVIDIA's Triton Inference Server: a repository of models, and the one that takes whole volumes."""

"""Inference libraries behind one small protocol: windows in, logits out."""

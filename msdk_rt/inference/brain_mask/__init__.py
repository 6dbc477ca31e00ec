"""The brain mask: a small network over the whole head, at a few millimetres, before the recipe's windows.

It is part of the manifest, weights and all, and runs in NumPy: whatever backend runs the model's own network.
"""

from msdk_rt.inference.brain_mask.mask import find_brain

__all__ = ["find_brain"]

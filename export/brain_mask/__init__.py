"""The brain mask that goes before a network: a small U-Net over the whole head at a few millimetres."""

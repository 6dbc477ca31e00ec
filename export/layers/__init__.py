"""The layers that the model families share."""

from msdk_export.layers.bimamba import BiMamba
from msdk_export.layers.kan import KANFeedForward, KANLinear
from msdk_export.layers.norm import TokenNorm

__all__ = ["BiMamba", "KANFeedForward", "KANLinear", "TokenNorm"]

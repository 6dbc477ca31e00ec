"""The layers that the model families share."""

from msdk_export.layers.bimamba import BiMamba, SharedBiMamba
from msdk_export.layers.cross_scan import CrossScan
from msdk_export.layers.kan import KANFeedForward, KANLinear
from msdk_export.layers.norm import TokenNorm

__all__ = ["BiMamba", "CrossScan", "KANFeedForward", "KANLinear", "SharedBiMamba", "TokenNorm"]

"""The model families that a checkpoint can name, one module each."""

from msdk_export.models.msd_kmamba import MSDKMamba, MSDKMambaConfig, demo_config
from msdk_export.models.segmamba import SegMamba, SegMambaConfig

FAMILIES = {"msd_kmamba": (MSDKMamba, MSDKMambaConfig), "segmamba": (SegMamba, SegMambaConfig)}

__all__ = ["FAMILIES", "MSDKMamba", "MSDKMambaConfig", "SegMamba", "SegMambaConfig", "demo_config"]

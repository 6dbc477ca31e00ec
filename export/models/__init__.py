"""The model families that a checkpoint can name, one module each."""

from msdk_export.models.msd_kmamba import MSDKMamba, MSDKMambaConfig, demo_config

FAMILIES = {"msd_kmamba": (MSDKMamba, MSDKMambaConfig)}

__all__ = ["FAMILIES", "MSDKMamba", "MSDKMambaConfig", "demo_config"]

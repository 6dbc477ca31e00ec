"""MSD-KMamba: its network, and how its weights are recognised."""

from msdk_export.families.msd_kmamba.network import MSDKMamba, MSDKMambaConfig, demo_config
from msdk_export.families.msd_kmamba.recognition import MSDKMambaFamily

__all__ = ["MSDKMamba", "MSDKMambaConfig", "MSDKMambaFamily", "demo_config"]

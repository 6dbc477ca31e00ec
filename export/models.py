"""The networks of the model families, by name: see msdk_export.families."""

from msdk_export import families
from msdk_export.families.msd_kmamba import MSDKMamba, MSDKMambaConfig, demo_config
from msdk_export.families.segmamba import SegMamba, SegMambaConfig

FAMILIES = {family.name: (family.network, family.config) for family in families.FAMILIES}

__all__ = ["FAMILIES", "MSDKMamba", "MSDKMambaConfig", "SegMamba", "SegMambaConfig", "demo_config"]

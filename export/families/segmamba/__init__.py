"""SegMamba: its network, and how its weights are recognised."""

from msdk_export.families.segmamba.network import SegMamba, SegMambaConfig
from msdk_export.families.segmamba.recognition import SegMambaFamily

__all__ = ["SegMamba", "SegMambaConfig", "SegMambaFamily"]

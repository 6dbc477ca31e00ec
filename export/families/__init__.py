"""The model families that a checkpoint can name, one folder each.

To add a family: a folder with its network and a Family (see msdk_export.families.base), and its line in
msdk_export.families.registry.
"""

from msdk_export.families.base import Ambiguity, Family
from msdk_export.families.registry import FAMILIES, family_named, family_of, identify, infer_config, recognise

__all__ = [
    "FAMILIES",
    "Ambiguity",
    "Family",
    "family_named",
    "family_of",
    "identify",
    "infer_config",
    "recognise",
]

"""The meaning of a label map, for formats that carry more than numbers."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Described:
    """labels: {name: voxel value}, 0 for the background. family, sha256: of the model that made them."""

    labels: Mapping[str, int] = field(default_factory=dict)
    family: str = ""
    sha256: str = ""

"""MSD-KMamba as a family: recognises its weights by their names and shapes."""

import re
from collections.abc import Iterable
from types import MappingProxyType
from typing import Any

from msdk_export.families.base import Ambiguity, Family
from msdk_export.families.msd_kmamba.network import MSDKMamba, MSDKMambaConfig
from msdk_export.families.shapes import Shapes

_OWN_NAMES = re.compile(r"stages\.\d+\.\d+\.(mamba|mamba_norm|kan|kan_norm|local|neighbourhood)\..*")


class MSDKMambaFamily(Family):
    """Everything but scale, and the directions other than forward,backward, can be read from the weights."""

    name = "msd_kmamba"
    network = MSDKMamba
    config = MSDKMambaConfig
    since = MappingProxyType({"scale": 1.0})
    ambiguities = (
        Ambiguity(
            "scale",
            "blocks that halve the sum of their scans, as Vim's if_divide_out does, have the same weights",
            lambda window: (1.0, 0.5),
        ),
    )

    def votes(self, names: Iterable[str]) -> int:
        return sum(_OWN_NAMES.fullmatch(name) is not None for name in names)

    def infer_config(self, shapes: Shapes) -> dict[str, Any]:
        stages = range(shapes.count(r"stages\.(\d+)\..*"))
        blocks = [rf"stages\.{stage}\.\d+" for stage in stages]
        dims = _known(
            shapes.side(0, rf"{block}\.(mamba_norm|kan_norm|neighbourhood)\.(weight|bias)")
            for block in blocks
        )
        if not dims:
            return {}
        hidden = _known(shapes.side(0, rf"{block}\.kan\.0\.base_weight") for block in blocks)
        bases = shapes.side(2, r"stages\.\d+\.\d+\.kan\.\d\.spline_weight")
        return {
            "in_channels": shapes.side(1, r"(stem|full_resolution)\.weight"),
            "num_classes": shapes.side(0, r"heads\.\d+\.(weight|bias)"),
            "dims": tuple(dims),
            "depths": tuple(shapes.count(rf"stages\.{stage}\.(\d+)\..*") for stage in stages),
            "kan_grid": bases and bases - 3,
            "kan_ratio": _ratio(dims, hidden) if hidden else None,
            **shapes.scan_sizes("stages", dims[0]),
        }


def _known(sides: Iterable[int | None]) -> list[int]:
    """The sides; none of them where one is unknown."""
    found = list(sides)
    known = [side for side in found if side is not None]
    return known if len(known) == len(found) else []


def _ratio(widths: list[int], hidden: list[int]) -> float:
    """A ratio that rounds each width to its hidden one."""
    least = max((h - 0.5) / max(1, width) for width, h in zip(widths, hidden, strict=True))
    most = min((h + 0.5) / max(1, width) for width, h in zip(widths, hidden, strict=True))
    exact = hidden[0] / max(1, widths[0])
    return exact if least < exact < most else (least + most) / 2

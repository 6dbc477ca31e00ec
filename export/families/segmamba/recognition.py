"""SegMamba as a family: recognises its weights by their names and shapes."""

import re
from collections.abc import Iterable
from typing import Any

from msdk_export.families.base import Ambiguity, Family
from msdk_export.families.segmamba.network import STAGES, SegMamba, SegMambaConfig
from msdk_export.families.shapes import Shapes

_OWN_NAMES = re.compile(r"vit\.(stages\.\d+\.\d+\.mamba|gscs\.\d+)\..*")


class SegMambaFamily(Family):
    """Everything but nslices and residual can be read from the weights."""

    name = "segmamba"
    network = SegMamba
    config = SegMambaConfig
    ambiguities = (
        Ambiguity(
            "residual",
            "SegMamba's Mamba layers add their input since its commit 1039e37 of 2024-06-05, and not before",
            lambda window: (True, False),
        ),
        Ambiguity(
            "nslices",
            "the slices of the inter-slice scan are a constant of the code that the network was trained with",
            lambda window: tuple(dict.fromkeys((SegMambaConfig.nslices, _planes(window)))),
        ),
    )

    def votes(self, names: Iterable[str]) -> int:
        return sum(_OWN_NAMES.fullmatch(name) is not None for name in names)

    def infer_config(self, shapes: Shapes) -> dict[str, Any]:
        default = SegMambaConfig()
        dims, depths = [], []
        for stage in range(STAGES):
            own = rf"gscs\.{stage}\.proj\d?|stages\.{stage}\.\d+\.norm|mlps\.{stage}\.fc2"
            dims.append(shapes.side(0, rf"vit\.({own})\.(weight|bias)") or default.dims[stage])
            depths.append(shapes.count(rf"vit\.stages\.{stage}\.(\d+)\..*") or default.depths[stage])
        entry = r"vit\.downsample_layers\.0\.0|encoder1\.layer\.conv[13]\.conv"
        bottleneck = r"encoder5\.layer\.conv\d\.conv|decoder5\.transp_conv\.conv"
        return {
            "in_channels": shapes.side(1, rf"({entry})\.weight"),
            "num_classes": shapes.side(0, r"out\.conv\.conv\.(weight|bias)"),
            "dims": tuple(dims),
            "depths": tuple(depths),
            "hidden_size": shapes.side(0, rf"({bottleneck})\.weight"),
            **shapes.scan_sizes(r"vit\.stages", dims[0]),
        }


def _planes(window: tuple[int, int, int]) -> tuple[int, ...]:
    """The nslices for which every slice is a plane of the feature map."""
    return tuple(max(2, window[0] // 2**stage) for stage in range(1, STAGES + 1))

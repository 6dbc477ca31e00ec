"""A brain mask's edge at the volume's own voxels: it takes in cortex nearby and leaves out other rims."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from msdk_rt.inference.arrays import Floats
from msdk_rt.inference.brain_mask.grooves import spread
from msdk_rt.inference.foreground import Box, Mask, nonzero_box


def move_edge(
    edge: Mapping[str, Any],
    mask: Mask,
    likely: Mask,
    image: Floats,
    scale: tuple[float, float],
    spacing: Sequence[float],
) -> None:
    """Grow a mask (D, H, W) in place into likely brain near it, then take away its rims of other intensities.

    edge: a manifest's brain_mask["edge"]. likely: a wider mask. image: (D, H, W). scale: the intensities of
    air and of the middle of the brain, which are 0 and 1 to edge. spacing: mm along D, H, W.
    """
    if not mask.any():
        return
    radii = [int(edge["reach"] / side + 1e-6) for side in spacing]
    box = _widened(nonzero_box(mask[None]), radii, mask.shape)
    part = mask[box]
    grown = spread(part, radii)
    grown &= likely[box]
    grown |= part
    air, middle = scale
    darkest, brightest = (np.float32(air + edge[name] * (middle - air)) for name in ("darkest", "brightest"))
    tissue = image[box] <= brightest
    tissue |= part
    tissue &= image[box] >= darkest
    part[:] = grown
    for axis in edge["axes"]:
        _peel(part, grown, tissue, axis, int(edge["depth"] / spacing[axis] + 1e-6))


def _peel(part: Mask, mask: Mask, tissue: Mask, axis: int, depth: int) -> None:
    """Take from `part` what rays from both ends of an axis meet of the mask before tissue, at most `depth`
    voxels of it on each.
    """
    rows, inside, right = (np.moveaxis(array, axis, 0) for array in (part, mask, tissue))
    for order in (range(len(rows)), range(len(rows) - 1, -1, -1)):
        left = np.full(rows.shape[1:], min(depth, len(rows)), np.int32)
        for plane in order:
            met = inside[plane] & (left > 0)
            left[met & right[plane]] = 0
            met &= ~right[plane]
            left -= met
            rows[plane] &= ~met


def _widened(box: Box, radii: Sequence[int], shape: Sequence[int]) -> Box:
    """The box with so many voxels more on each side, within the volume."""
    d, h, w = (
        slice(max(0, side.start - radius), min(count, side.stop + radius))
        for side, radius, count in zip(box, radii, shape, strict=True)
    )
    return d, h, w

"""What the brain mask's network sees of a coarse image: relative intensities, the head and little air.

Its instance norms average over the whole field, so the same head in more air would be another head to it.
"""

from collections.abc import Sequence

import numpy as np

from msdk_rt.inference.arrays import Floats
from msdk_rt.inference.foreground import Box

BRIGHTEST = 4.0  # of a scaled image
AIR = 0.3  # of a scaled image: darker is air, or might as well be
FEW = 0.02  # of the voxels that are no air in the fullest plane: a plane with so few is air too
MARGIN = 2  # voxels of air around the head


def scaled(image: Floats) -> Floats:
    """Intensities from 0, relative to the mean of those above the mean."""
    image = image - image.min()
    bright = image[image > image.mean()]
    level = float(bright.mean()) if bright.size else 1.0
    relative: Floats = np.minimum(image / np.float32(max(level, 1e-12)), np.float32(BRIGHTEST))
    return relative


def head_box(relative: Floats) -> Box:
    """Slices of a scaled image (D, H, W) around what is no air, with a margin; all of it where all is air."""
    bright = relative > AIR
    d, h, w = (
        _span(np.count_nonzero(bright, axis=tuple({0, 1, 2} - {axis})), size)
        for axis, size in enumerate(bright.shape)
    )
    return d, h, w


def _span(counts: Sequence[int], size: int) -> slice:
    """From the first to the last of the planes that are no air."""
    found = np.flatnonzero(np.asarray(counts) > FEW * np.max(counts))
    if not found.size:
        return slice(0, size)
    return slice(max(0, int(found[0]) - MARGIN), min(size, int(found[-1]) + 1 + MARGIN))

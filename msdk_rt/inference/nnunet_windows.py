"""nnU-Net's window plan and Gaussian, in NumPy.

Placement and weights follow nnU-Net 2.8 (nnunetv2/inference/sliding_window_prediction.py, whose Gaussian is
SciPy's gaussian_filter of one voxel, rounded to float16). Weights are the same numbers. Their sums are in
float32 here, in float16 there.
"""

import itertools
import math
from collections.abc import Sequence

import numpy as np

from msdk_rt.inference.arrays import Array, Floats
from msdk_rt.inference.windows import Start

TRUNCATE = 4.0  # standard deviations at which SciPy cuts a Gaussian off
PEAK = 10.0  # of the weights before they are rounded


def axis_starts(size: int, window: int, overlap: float) -> list[int]:
    """First voxel of every window along one axis of `size` >= `window` voxels, spread evenly.

    A window of one voxel, which is a slice of a 2D network, starts at every voxel once.
    """
    if window == 1:
        return list(range(size))
    steps = math.ceil((size - window) / (window * (1 - overlap))) + 1
    step = (size - window) / max(1, steps - 1)
    return [int(np.round(step * index)) for index in range(steps)]


def plan_windows(shape: Sequence[int], window: Sequence[int], overlap: float) -> list[Start]:
    """First voxels of all windows over a volume (D, H, W), taken as padded to at least one window."""
    padded = np.maximum(shape, window).tolist()
    d, h, w = (axis_starts(size, side, overlap) for size, side in zip(padded, window, strict=True))
    return list(itertools.product(d, h, w))


def importance(window: Sequence[int], mode: str, sigma_scale: float) -> Floats:
    """Weight of each voxel of a window in the blend, float32 (D, H, W).

    mode: "constant", or "gaussian" with standard deviation sigma_scale * side along each axis, its peak at
    voxel side // 2. Weights that float16 rounds to 0 get the smallest of the others.
    """
    if mode == "constant":
        return np.ones(window, np.float32)
    d, h, w = (_gaussian(side, sigma_scale * side) for side in window)
    weights = d[:, None, None] * h[:, None] * w
    rounded = (weights / (weights.max() / PEAK)).astype(np.float32).astype(np.float16)  # as PyTorch does
    rounded[rounded == 0] = rounded[rounded > 0].min()
    return np.asarray(rounded, np.float32)


def _gaussian(side: int, sigma: float) -> Array:
    """SciPy's Gaussian around voxel side // 2, float64."""
    radius = int(TRUNCATE * sigma + 0.5)
    kernel = np.exp(-0.5 / sigma**2 * np.arange(-radius, radius + 1) ** 2)
    distance = np.arange(side) - side // 2
    inside = np.abs(distance) <= radius
    return np.where(inside, (kernel / kernel.sum())[np.where(inside, distance + radius, 0)], 0.0)

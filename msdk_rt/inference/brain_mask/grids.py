"""Between a volume's voxels and coarse cubes over the same box: means one way, linear interpolation back."""

from collections.abc import Sequence

import numpy as np

from msdk_rt.inference.arrays import Floats
from msdk_rt.inference.foreground import Mask
from msdk_rt.inference.planes import plane_blocks


def coarse_means(image: Floats, spacing: Sequence[float], coarse: float) -> Floats:
    """Mean of (D, H, W) over each cube of side `coarse`; spacing: of a voxel, both in mm."""
    d, h, w = (_means(n, side / coarse) for n, side in zip(image.shape, spacing, strict=True))
    planes = np.empty((len(d), *image.shape[1:]), np.float32)
    for plane, shares in zip(planes, d, strict=True):
        near = np.flatnonzero(shares)
        part = slice(near[0], near[-1] + 1)
        plane[:] = np.tensordot(shares[part], image[part], 1)
    means: Floats = np.matmul(h, np.matmul(planes, w.T))
    return means


def above(
    values: Floats, level: float, shape: Sequence[int], spacing: Sequence[float], coarse: float
) -> Mask:
    """Where coarse values (d, h, w), interpolated at the voxels of a volume (D, H, W), exceed the level."""
    d, h, w = (
        _weights(n, few, side / coarse) for n, few, side in zip(shape, values.shape, spacing, strict=True)
    )
    planes = np.matmul(h, np.matmul(values, w.T))
    mask = np.empty(tuple(shape), np.bool_)
    for block in plane_blocks(len(mask), mask[0].size):
        np.greater(np.tensordot(d[block], planes, 1), level, out=mask[block])
    return mask


def _means(count: int, step: float) -> Floats:
    """(coarse, count): share of each voxel in the mean over a cube; step: voxels' side in cubes."""
    coarse = max(1, int(np.ceil(count * step - 1e-6)))
    edges = np.arange(count + 1) * step
    first, last = np.arange(coarse)[:, None], np.arange(1, coarse + 1)[:, None]
    overlap = np.clip(np.minimum(edges[1:], last) - np.maximum(edges[:-1], first), 0, None)
    shares: Floats = (overlap / overlap.sum(axis=1, keepdims=True)).astype(np.float32)
    return shares


def _weights(count: int, coarse: int, step: float) -> Floats:
    """(count, coarse): the two cubes that a voxel lies between, and how near to each."""
    place = np.clip((np.arange(count) + 0.5) * step - 0.5, 0, coarse - 1)
    weights: Floats = np.clip(1 - np.abs(place[:, None] - np.arange(coarse)), 0, None).astype(np.float32)
    return weights

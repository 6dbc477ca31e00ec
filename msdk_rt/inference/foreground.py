"""Where a volume is not 0: the box around it, and the mask that nnU-Net normalises inside."""

from typing import Any

import numpy as np
import numpy.typing as npt

from msdk_rt.inference.arrays import Array

Box = tuple[slice, slice, slice]
Mask = npt.NDArray[np.bool_]


def nonzero_box(volume: Array) -> Box:
    """Slices of (D, H, W) around all voxels of (C, D, H, W) that are not 0 in every channel.

    The whole volume where there is none.
    """
    nonzero = nonzero_mask(volume)
    sides: list[Any] = []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        found = np.flatnonzero(nonzero.any(axis=others))
        sides.append(
            slice(int(found[0]), int(found[-1]) + 1) if found.size else slice(0, nonzero.shape[axis])
        )
    d, h, w = sides
    return d, h, w


def nonzero_mask(volume: Array) -> Mask:
    """(D, H, W): where a voxel of (C, D, H, W) is not 0 in some channel."""
    mask: Mask = volume[0] != 0
    for channel in volume[1:]:
        mask |= channel != 0
    return mask


def without_holes(mask: Mask) -> Mask:
    """The mask and its holes: what no path through faces leads out of, as SciPy's binary_fill_holes."""
    free = ~mask
    outside = np.zeros_like(mask)
    for axis in range(3):
        for end in (0, -1):
            np.moveaxis(outside, axis, 0)[end] = np.moveaxis(free, axis, 0)[end]
    return ~connected_to(outside, free)


def connected_to(seed: Mask, free: Mask) -> Mask:
    """The voxels of `free` that a path through faces joins to the seed, which lies in it; seed grows to them.

    A path is followed along whole rows: each sweep goes through all planes of one axis, there and back, until
    a round of sweeps finds no more.
    """
    found, before = int(np.count_nonzero(seed)), -1
    while found != before:
        for axis in range(3):
            _sweep(np.moveaxis(seed, axis, 0), np.moveaxis(free, axis, 0))
        found, before = int(np.count_nonzero(seed)), found
    return seed


def _sweep(outside: Mask, free: Mask) -> None:
    """Carry `outside` from plane to plane along the first axis, through what is free."""
    for planes in (range(1, len(outside)), range(len(outside) - 2, -1, -1)):
        step = planes.step
        for plane in planes:
            outside[plane] |= outside[plane - step] & free[plane]

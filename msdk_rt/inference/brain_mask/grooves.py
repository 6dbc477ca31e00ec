"""Narrow grooves of a mask, such as sulci, filled as a training's brain has them: by a closing."""

from collections.abc import Sequence

import numpy as np

from msdk_rt.inference.foreground import Mask, nonzero_box


def fill_grooves(mask: Mask, radii: Sequence[int]) -> None:
    """Close a mask (D, H, W) in place with a box of 2 r + 1 voxels along each axis; beyond its edges is none.

    What is at most 2 r voxels wide between two sides of the mask becomes part of it, nothing is lost.
    """
    if not any(radii):
        return
    part = mask[nonzero_box(mask[None])]
    radii = [min(r, n) for r, n in zip(radii, part.shape, strict=True)]  # a longer one does no more
    near = spread(np.pad(part, [(r, r) for r in radii]), radii)
    far = spread(~near, radii)
    inside = tuple(slice(r, r + n) for r, n in zip(radii, part.shape, strict=True))
    part |= ~far[inside]


def spread(mask: Mask, radii: Sequence[int]) -> Mask:
    """The voxels at most r from the mask's along each axis."""
    for axis, radius in enumerate(radii):
        grown = mask.copy()
        source, target = np.moveaxis(mask, axis, 0), np.moveaxis(grown, axis, 0)
        for step in range(1, min(radius, len(source) - 1) + 1):
            target[step:] |= source[:-step]
            target[:-step] |= source[step:]
        mask = grown
    return mask

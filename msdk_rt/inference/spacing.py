"""The voxel grid that a network sees, by nnU-Net's rules (nnunetv2/preprocessing/resampling, 2.8)."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from msdk_rt.errors import InputError

ANISOTROPIC = 3.0  # times that the largest side of a voxel is longer than the smallest

Sides = tuple[float, ...]  # millimetres along D, H, W
Shape = tuple[int, int, int]


def target_spacing(resampling: Mapping[str, Any], spacing: Sequence[float]) -> Sides:
    """Spacing that the network sees of an image of this spacing. resampling: a manifest's entry."""
    return tuple(
        own if wanted is None else wanted for wanted, own in zip(resampling["spacing"], spacing, strict=True)
    )


def target_shape(shape: Sequence[int], spacing: Sequence[float], target: Sequence[float]) -> Shape:
    """Shape of an image (D, H, W) at another spacing, to the nearest voxel, halves to even.

    Raises InputError where nothing is left of a side.
    """
    d, h, w = (round(own / wanted * side) for side, own, wanted in zip(shape, spacing, target, strict=True))
    if min(d, h, w) < 1:
        raise InputError(
            f"its {_listed(shape)} voxels of {_listed(spacing)} mm are {d} x {h} x {w} voxels of the "
            f"network's {_listed(target)} mm: give an image that is at least one of those voxels thick"
        )
    return d, h, w


def separate_axis(rule: str, current: Sequence[float], new: Sequence[float]) -> int | None:
    """The axis along which planes are resampled by themselves; None where all axes are resampled at once.

    rule: "always": the axis of the longest side of the current spacing. "auto": the same where that is more
    than ANISOTROPIC times the shortest, else of the new spacing if its is. "never". Two axes or three of that
    length are none.
    """
    if rule == "never":
        return None
    candidates = (
        [current] if rule == "always" else [s for s in (current, new) if max(s) / min(s) > ANISOTROPIC]
    )
    if not candidates:
        return None
    sides = np.asarray(candidates[0])
    longest = np.flatnonzero(sides.max() / sides == 1)
    return int(longest[0]) if len(longest) == 1 else None


def _listed(sides: Sequence[float]) -> str:
    return " x ".join(f"{side:.3g}" for side in sides)

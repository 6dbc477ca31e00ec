"""Arrays as volumes: what may come in, and the float32 it becomes."""

from collections.abc import Sequence

import numpy as np

from msdk_rt.errors import InputError


def as_array(value: object) -> np.ndarray:
    """Anything NumPy takes as an array: a tensor, nested lists. Raises InputError for anything else."""
    try:
        return np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            f"got a {type(value).__name__} that NumPy cannot read ({error}): give an array (C, D, H, W)"
        ) from error


def as_volume(array: np.ndarray, channels: Sequence[str]) -> np.ndarray:
    """(C, D, H, W) as float32 in C order, copied only where it is not that already.

    Raises InputError unless it holds finite real numbers, at least one voxel, and one volume per channel.
    """
    expected = f"expected (C, D, H, W) with C = {len(channels)} ({', '.join(channels)})"
    if array.dtype.kind not in "biuf":
        raise InputError(
            f"got an array of {array.dtype}, expected integers or real numbers: convert it first"
        )
    if array.ndim != 4:
        raise InputError(f"got an array of shape {array.shape}, {expected}: add or remove axes")
    if len(array) != len(channels):
        raise InputError(f"got {len(array)} channel(s), shape {array.shape}, {expected}")
    if array.size == 0:
        raise InputError(f"got an empty array of shape {array.shape}, {expected}")
    with np.errstate(over="ignore"):
        volume = np.ascontiguousarray(array, np.float32)
    check_finite(volume, channels)
    return volume


def check_finite(volume: np.ndarray, channels: Sequence[str]) -> None:
    """Raise InputError naming the first channel of (C, D, H, W) that has NaN or Inf, and how many."""
    for name, values in zip(channels, volume, strict=True):
        wrong = values.size - np.count_nonzero(np.isfinite(values))
        if wrong:
            nans = np.count_nonzero(np.isnan(values))
            raise InputError(
                f"channel {name} has {nans} NaN and {wrong - nans} infinite of {values.size} voxels, "
                "expected finite float32 values: repair the volume first"
            )

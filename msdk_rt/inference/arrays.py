"""Arrays as volumes: what may come in, and the float32 it becomes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from msdk_rt.errors import InputError

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float32]

TO_HOST = "array.get() in CuPy and PyCUDA, tensor.cpu() in PyTorch, array.copy_to_host() in Numba"


def as_array(value: object) -> Array:
    """Anything NumPy takes as an array: a tensor, nested lists. Raises InputError for anything else.

    A masked array is one only where it masks nothing: NumPy would give what lies below the mask.
    """
    check_unmasked(value)
    try:
        return np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            f"got a {type(value).__name__} that NumPy cannot read ({error}): give an array (C, D, H, W)"
        ) from error


def check_unmasked(value: object) -> None:
    """Raise InputError for a masked array, or lists that hold one, with a voxel that is masked."""
    if isinstance(value, np.ma.MaskedArray):
        masked = int(np.count_nonzero(np.ma.getmaskarray(value)))
        if masked:
            raise InputError(
                f"got a masked array, {masked} of {value.size} voxels masked, and a network takes no mask: "
                "give array.filled(0), or whatever value those voxels shall have"
            )
    elif isinstance(value, (list, tuple)) and not all(isinstance(entry, (int, float)) for entry in value):
        for entry in value:
            check_unmasked(entry)


def as_volume(array: Array, channels: Sequence[str]) -> Floats:
    """(C, D, H, W) as float32 in C order, copied only where it is not that already.

    Raises InputError unless it holds finite real numbers, none of them masked, at least one voxel, and one
    volume per channel.
    """
    check_unmasked(array)
    if array.dtype.kind not in "biuf":
        raise InputError(
            f"got an array of {array.dtype}, expected integers or real numbers: convert it first"
        )
    check_shape(array.shape, channels)
    with np.errstate(over="ignore"):
        volume = np.ascontiguousarray(array, np.float32)
    check_finite(volume, channels)
    return volume


def check_shape(shape: Sequence[int], channels: Sequence[str]) -> None:
    """Raise InputError unless it is (C, D, H, W) with one volume per channel and at least one voxel."""
    shape = tuple(shape)
    expected = f"expected (C, D, H, W) with C = {len(channels)} ({', '.join(channels)})"
    if len(shape) != 4:
        raise InputError(f"got an array of shape {shape}, {expected}: add or remove axes")
    if shape[0] != len(channels):
        raise InputError(f"got {shape[0]} channel(s), shape {shape}, {expected}")
    if 0 in shape:
        raise InputError(f"got an empty array of shape {shape}, {expected}")


def check_finite(volume: Array, channels: Sequence[str]) -> None:
    """Raise InputError naming the first channel of (C, D, H, W) that has NaN or Inf, and how many."""
    for name, values in zip(channels, volume, strict=True):
        wrong = values.size - int(np.count_nonzero(np.isfinite(values)))
        if wrong:
            nans = int(np.count_nonzero(np.isnan(values)))
            raise not_finite_input(name, nans, wrong - nans, values.size)


def not_finite_input(channel: str, nans: int, infinities: int, voxels: int) -> InputError:
    """Make the error for a channel that has NaN or infinities."""
    return InputError(
        f"channel {channel} has {nans} NaN and {infinities} infinite of {voxels} voxels, expected finite "
        "float32 values: repair the volume first"
    )

"""Splits the argument of Segmenter.run into volumes: paths, volumes, arrays, arrays on a device."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from msdk_rt.errors import InputError
from msdk_rt.imaging.volumes import Volume
from msdk_rt.inference.arrays import Array, as_array
from msdk_rt.inference.device.arrays import DeviceVolume, is_device_array

Source = Array | DeviceVolume | Volume | list[str | Path]


def sources_of(volumes: Any, take: Callable[[object], DeviceVolume]) -> tuple[list[Source], bool]:
    """The volumes, and whether one was given alone, not a list of one.

    take: makes a DeviceVolume of an array on a device. Raises InputError.
    """
    if isinstance(volumes, Volume):
        return [volumes], True
    if files := _files(volumes):
        return [files], True
    if isinstance(volumes, (list, tuple)):
        sources: list[Source] = [_files(volume) or _array(volume, take) for volume in volumes]
    else:
        array = take(volumes) if is_device_array(volumes) else as_array(volumes)
        if array.ndim != 5:
            return [array], True
        sources = [array[index] for index in range(len(array))]
    if not sources:
        raise InputError("got no volume: expected arrays (C, D, H, W), or one NIfTI path per channel")
    return sources, False


def _array(volume: object, take: Callable[[object], DeviceVolume]) -> Array | DeviceVolume | Volume:
    if isinstance(volume, Volume):
        return volume
    return take(volume) if is_device_array(volume) else as_array(volume)


def _files(volume: Any) -> list[str | Path]:
    """The paths that a volume is given as; empty where it is something else."""
    paths = volume if isinstance(volume, (list, tuple)) else [volume]
    return list(paths) if all(isinstance(path, (str, os.PathLike)) for path in paths) else []

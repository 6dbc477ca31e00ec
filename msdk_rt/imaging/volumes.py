"""Volumes of a case: read into the model's axis order, and earlier results checked against them."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from msdk_rt.artifact.files import path_of
from msdk_rt.artifact.notes import InputWarning
from msdk_rt.errors import InputError
from msdk_rt.imaging.formats import Image, open_image, writer_for
from msdk_rt.imaging.space import Space, check_same_space
from msdk_rt.inference.arrays import Array, check_finite


@dataclass(frozen=True, eq=False)
class Volume:
    """data: (C, D, H, W) float32 in the model's axis order. space: where it came from."""

    data: Array
    space: Space


def read_volume(
    paths: Sequence[str | Path],
    channels: Sequence[str] | None = None,
    orientation: str = "RAS",
    choices: Sequence[str] = (),
) -> Volume:
    """Read one file per modality, in the order of `channels` (default, for messages: the file names).

    Every file is 3D (a 4D one with a single volume counts) and lies in the same space as the first: same
    shape, and no corner further away than SAME_SPACE_LIMIT of the smallest voxel side. One 4D file that holds
    all modalities in that order does too. Scaling is applied. A DICOM folder, zip or multi-frame file is a
    path too. choices: for each path the number, UID or description (* and ? are wild) of its series, "" for
    the only one; default: all "".

    Warns with InputWarning where a header leaves open what was meant, such as the orientation. Raises
    InputError: a file is missing, truncated or of no known format, holds complex, RGB, NaN or infinite
    values or more voxels than its header says, is empty, has a singular affine, or the modalities do not
    match.
    """
    if len(paths) == 1 and channels and len(channels) > 1 and holds_channels(paths[0], len(channels)):
        return read_series(paths[0], channels, orientation)
    names = channels or [Path(path).name for path in paths]
    if len(paths) != len(names) or not paths:
        raise InputError(
            f"expected {len(names)} file(s), one per channel ({', '.join(names)}), got {len(paths)}"
        )
    choices = choices or [""] * len(paths)
    if len(choices) != len(paths):
        raise InputError(f"expected {len(paths)} choices of a series, one per channel, got {len(choices)}")
    images = [
        open_image(path_of(path, InputError), choice=choice)
        for path, choice in zip(paths, choices, strict=True)
    ]
    first = images[0]
    for path, image in zip(paths[1:], images[1:], strict=True):
        check_same_space(first, image, Path(paths[0]), Path(path))
    space = first.space(orientation)
    data = np.stack([space.to_model(image.voxels().reshape(space.shape)) for image in images])
    check_finite(data, names)
    _warn(images)
    return Volume(data, space)


def holds_channels(path: str | Path, count: int) -> bool:
    """Whether it is one file with so many volumes along its fourth axis."""
    try:
        return open_image(path_of(path, InputError), series=True).shape[3:4] == (count,)
    except InputError:  # said when it is read
        return False


def read_series(path: str | Path, channels: Sequence[str], orientation: str = "RAS") -> Volume:
    """Read one file (X, Y, Z) or (X, Y, Z, C) that holds all channels of a case.

    Warns and raises InputError as read_volume does, and when C is not the number of `channels`.
    """
    path = path_of(path, InputError)
    image = open_image(path, series=True)
    count = int(np.prod(image.shape[3:]))
    if count != len(channels):
        raise InputError(
            f"{path} has shape {image.shape}, {count} channel(s), expected {len(channels)} "
            f"({', '.join(channels)}) along the fourth axis"
        )
    space = image.space(orientation)
    voxels = image.voxels().reshape(*image.shape[:3], count)
    data = np.stack([space.to_model(voxels[..., channel]) for channel in range(count)])
    check_finite(data, channels)
    _warn([image])
    return Volume(data, space)


def check_result(path: Path, source: Path, maps: int, choice: str = "") -> None:
    """Raise InputError unless `path` is a whole file of `maps` volumes in the space of `source`.

    choice: of a series in `source`, as read_volume takes it.
    """
    image = open_image(source, series=True, choice=choice)
    writer_for(path).check_result(path, image, source, maps)


def _warn(images: Sequence[Image]) -> None:
    for sentence in dict.fromkeys(sentence for image in images for sentence in image.doubts):
        warnings.warn(sentence, InputWarning, stacklevel=3)

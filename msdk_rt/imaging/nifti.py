"""NIfTI files in and out: read into the model's axis order, written back into the input's own voxel space."""

import gzip
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
from nibabel.orientations import apply_orientation, axcodes2ornt, io_orientation, ornt_transform

from msdk_rt.artifact.files import atomic_write
from msdk_rt.errors import InputError, OutputError
from msdk_rt.imaging.voxels import UNREADABLE, read_voxels
from msdk_rt.inference.arrays import check_finite

SUFFIXES = (".nii.gz", ".nii")
SAME_SPACE_LIMIT = 0.1


@dataclass(frozen=True, eq=False)
class Space:
    """The voxel space of an input file, and the turn between its axes and the model's.

    image_type: Nifti1Image or Nifti2Image. header: the file's own, with units, description and codes.
    affine: voxel to millimetres (4, 4). shape: (X, Y, Z) in the file's axis order.
    orientation: axis codes of the model's (D, H, W).
    """

    image_type: type
    header: nibabel.Nifti1Header
    affine: np.ndarray
    shape: tuple[int, int, int]
    orientation: str

    @property
    def voxel_ml(self) -> float:
        """Volume of one voxel in millilitres, for an affine in millimetres."""
        return float(abs(np.linalg.det(self.affine[:3, :3]))) / 1000

    def to_model(self, array: np.ndarray) -> np.ndarray:
        """A view of (X, Y, Z), in the file's axis order, as the model's (D, H, W)."""
        return apply_orientation(array, ornt_transform(*self._orientations()))

    def from_model(self, array: np.ndarray) -> np.ndarray:
        """A view of (D, H, W), in the model's axis order, as the file's (X, Y, Z)."""
        return apply_orientation(array, ornt_transform(*reversed(self._orientations())))

    def save(self, array: np.ndarray, path: str | Path) -> None:
        """Write (X, Y, Z) or (X, Y, Z, K) atomically as .nii or .nii.gz in this space.

        Affine, qform and sform codes, zooms, units and description are the input's; data type, scaling and
        display range are the array's. Raises OutputError.
        """
        path = Path(path)
        check_suffix(path)
        header = self.header.copy()
        header.set_data_dtype(array.dtype)
        header["cal_min"] = header["cal_max"] = 0
        image = self.image_type(array, self.affine, header)
        with atomic_write(path, "wb") as file:
            if path.name.endswith(".gz"):
                with gzip.GzipFile("", "wb", compresslevel=1, fileobj=file, mtime=0) as stream:
                    image.to_stream(stream)
            else:
                image.to_stream(file)

    def _orientations(self) -> tuple[np.ndarray, np.ndarray]:
        return io_orientation(self.affine), axcodes2ornt(self.orientation)


@dataclass(frozen=True, eq=False)
class Volume:
    """data: (C, D, H, W) float32 in the model's axis order. space: where it came from."""

    data: np.ndarray
    space: Space


def read_volume(
    paths: Sequence[str | Path], channels: Sequence[str] | None = None, orientation: str = "RAS"
) -> Volume:
    """Read one NIfTI file per modality, in the order of `channels` (default, for messages: the file names).

    Every file is 3D (a 4D one with a single volume counts) and lies in the same space as the first: same
    shape, and no corner further away than SAME_SPACE_LIMIT of the smallest voxel side. Scaling is applied.
    Raises InputError: a file is missing, truncated or not NIfTI, holds complex, RGB, NaN or infinite values,
    is empty, has a singular affine, or the modalities do not match.
    """
    names = channels or [Path(path).name for path in paths]
    if len(paths) != len(names) or not paths:
        raise InputError(
            f"expected {len(names)} file(s), one per channel ({', '.join(names)}), got {len(paths)}"
        )
    images = [_open(Path(path)) for path in paths]
    first = images[0]
    for path, image in zip(paths[1:], images[1:], strict=True):
        check_same_space(first, image, Path(paths[0]), Path(path))
    space = Space(type(first), first.header.copy(), first.affine, first.shape[:3], orientation)
    data = np.stack(
        [
            space.to_model(read_voxels(image, Path(p)).reshape(space.shape))
            for image, p in zip(images, paths, strict=True)
        ]
    )
    check_finite(data, names)
    return Volume(data, space)


def read_series(path: str | Path, channels: Sequence[str], orientation: str = "RAS") -> Volume:
    """Read one NIfTI file (X, Y, Z) or (X, Y, Z, C) that holds all channels of a case.

    Raises InputError as read_volume does, and when C is not the number of `channels`.
    """
    path = Path(path)
    image = _open(path, series=True)
    count = int(np.prod(image.shape[3:]))
    if count != len(channels):
        raise InputError(
            f"{path} has shape {image.shape}, {count} channel(s), expected {len(channels)} "
            f"({', '.join(channels)}) along the fourth axis"
        )
    space = Space(type(image), image.header.copy(), image.affine, image.shape[:3], orientation)
    voxels = read_voxels(image, path).reshape(*image.shape[:3], count)
    data = np.stack([space.to_model(voxels[..., channel]) for channel in range(count)])
    check_finite(data, channels)
    return Volume(data, space)


def check_result(path: Path, source: Path, maps: int) -> None:
    """Raise InputError unless `path` is a whole NIfTI file of `maps` volumes in the space of `source`."""
    result = _open(path, series=True)
    check_same_space(_open(source), result, source, path)
    if int(np.prod(result.shape[3:])) != maps:
        raise InputError(f"{path} has shape {result.shape}, expected {maps} volume(s)")
    read_voxels(result, path)


def check_suffix(path: Path) -> None:
    """Raise OutputError unless `path` ends in .nii or .nii.gz."""
    if not path.name.endswith(SUFFIXES):
        raise OutputError(f"cannot write {path}: expected a name that ends in {' or '.join(SUFFIXES)}")


def stem(path: str | Path) -> str:
    """The file name without .nii or .nii.gz."""
    name = Path(path).name
    return next((name.removesuffix(suffix) for suffix in SUFFIXES if name.endswith(suffix)), name)


def _open(path: Path, series: bool = False) -> nibabel.Nifti1Image:
    """The image with its header checked and its voxels still on disk; a series may have several volumes."""
    if not path.is_file():
        raise InputError(f"no file at {path}: expected a NIfTI volume (.nii or .nii.gz)")
    try:
        image = nibabel.load(path)
        affine = image.affine
    except UNREADABLE as error:
        raise InputError(f"cannot read {path} as NIfTI: {error}") from error
    if not isinstance(image, nibabel.Nifti1Image):
        raise InputError(f"{path} is a {type(image).__name__}, expected a NIfTI file (.nii or .nii.gz)")
    shape = image.shape
    if len(shape) < 3 or any(side != 1 for side in shape[4 if series else 3 :]):
        raise InputError(f"{path} has shape {shape}, expected one 3D volume: split the series first")
    if min(shape) < 1:
        raise InputError(f"{path} has shape {shape}: it holds no voxels")
    if image.get_data_dtype().kind not in "iuf":
        raise InputError(f"{path} holds {image.get_data_dtype()} voxels, expected integers or real numbers")
    _check_affine(affine, path)
    return image


def _check_affine(affine: np.ndarray, path: Path) -> None:
    linear = affine[:3, :3]
    box = np.linalg.norm(linear, axis=0).prod()
    if not np.isfinite(affine).all() or not abs(np.linalg.det(linear)) > 1e-6 * box:
        raise InputError(
            f"{path} has an affine that is not finite and invertible, {affine.tolist()}: repair its sform or "
            "qform"
        )


def check_same_space(
    first: nibabel.Nifti1Image | Space, other: nibabel.Nifti1Image | Space, path: Path, other_path: Path
) -> None:
    """Raise InputError unless both have one shape and corners within SAME_SPACE_LIMIT of a voxel side."""
    if first.shape[:3] != other.shape[:3]:
        raise InputError(
            f"{other_path} has shape {other.shape[:3]}, and {path} has {first.shape[:3]}: resample them "
            "onto one grid first"
        )
    corners = np.stack([*np.meshgrid(*((0, n - 1) for n in first.shape[:3])), np.ones((2, 2, 2))], -1)
    distance = np.linalg.norm((corners @ (first.affine - other.affine).T)[..., :3], axis=-1).max()
    limit = SAME_SPACE_LIMIT * np.linalg.norm(first.affine[:3, :3], axis=0).min()
    if distance > limit:
        raise InputError(
            f"{other_path} lies up to {distance:.3g} mm away from {path} (limit {limit:.3g} mm): their "
            "affines differ, resample them onto one grid first"
        )

"""NIfTI files: .nii and .nii.gz, versions 1 and 2."""

import contextlib
import gzip
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

from msdk_rt.artifact.files import atomic_write, file_at
from msdk_rt.errors import InputError
from msdk_rt.imaging.described import Described
from msdk_rt.imaging.nifti_header import doubts, read_header, sides_mm, unit_mm
from msdk_rt.imaging.space import Placed, Space, check_affine, check_result_space
from msdk_rt.imaging.voxels import UNREADABLE, read_voxels
from msdk_rt.inference.arrays import Array

GZIP = b"\x1f\x8b"
PAIRS = (".hdr", ".img")
APPLE_DOUBLE = "._"  # how the names begin under which macOS keeps its metadata on other file systems


@dataclass(frozen=True, eq=False)
class NiftiHeader:
    """The part of an input file that its result keeps.

    image_type: Nifti1Image or Nifti2Image. unit_mm: millimetres of the unit that the header's affine is in.
    """

    image_type: type[nibabel.Nifti1Image]
    header: nibabel.Nifti1Header
    unit_mm: float = 1.0


class NiftiImage:
    """An opened NIfTI file; implements msdk_rt.imaging.formats.Image."""

    def __init__(self, image: nibabel.Nifti1Image, path: Path):
        raw = read_header(image, path)
        self._image, self._path, self._unit = image, path, unit_mm(raw)
        self.shape: tuple[int, ...] = image.shape
        self.affine: Array = in_millimetres(image.affine, self._unit)
        check_affine(self.affine, path)
        self.doubts = doubts(raw, self.affine, path)
        self._sides = sides_mm(raw, self.affine)

    def voxels(self) -> Array:
        voxels, beyond = read_voxels(self._image, self._path)
        if beyond and beyond not in self.doubts:
            self.doubts.append(beyond)
        return voxels

    def space(self, orientation: str) -> Space:
        x, y, z = self.shape[:3]
        header = NiftiHeader(type(self._image), self._image.header.copy(), self._unit)
        return Space(self.affine, (x, y, z), orientation, header, sides=self._sides)


class Nifti:
    """Implements msdk_rt.imaging.formats.Format."""

    suffixes = results = (".nii.gz", ".nii")

    def holds(self, path: Path) -> bool:
        return False

    def open(self, path: Path, *, series: bool, choice: str = "") -> NiftiImage:
        if choice:
            raise InputError(f"{path} is no DICOM folder or zip, and a series is only chosen in these")
        path = file_at(path, InputError, f"no file at {path}: expected a NIfTI volume (.nii or .nii.gz)")
        if path.name.startswith(APPLE_DOUBLE):
            raise InputError(
                f"{path} is metadata of macOS and no image: give {path.name.removeprefix(APPLE_DOUBLE)}"
            )
        if path.suffix.lower() in PAIRS:
            raise InputError(
                f"{path} is half of a pair of files, expected one file (.nii or .nii.gz): join them, "
                f"`nib-convert {path.name} {path.stem}.nii.gz` does"
            )
        try:
            image: Any = nibabel.load(path)
            image.affine  # noqa: B018  computed when it is asked for
        except UNREADABLE as error:
            raise InputError(f"cannot read {path} as NIfTI: {error}{_hint(path)}") from error
        if not isinstance(image, nibabel.Nifti1Image):
            raise InputError(f"{path} is a {type(image).__name__}, expected a NIfTI file (.nii or .nii.gz)")
        shape = image.shape
        if len(shape) < 3 or any(side != 1 for side in shape[4 if series else 3 :]):
            raise InputError(f"{path} has shape {shape}, expected one 3D volume: split the series first")
        if min(shape) < 1:
            raise InputError(f"{path} has shape {shape}: it holds no voxels")
        if image.get_data_dtype().kind not in "iuf":
            raise InputError(
                f"{path} holds {image.get_data_dtype()} voxels, expected integers or real numbers"
            )
        return NiftiImage(image, path)

    def check_result(self, path: Path, source: Placed, source_path: Path, maps: int) -> None:
        result = self.open(path, series=True)
        check_result_space(source, result, source_path, path, maps)
        result.voxels()

    def check_library(self) -> None:
        """nibabel is a dependency."""

    def write(self, array: Array, space: Space, path: Path, described: Described) -> None:
        """Affine and its unit, qform and sform codes, zooms and description are the input's, where it was a
        NIfTI file; data type, scaling and display range are the array's.
        """
        known = space.header if isinstance(space.header, NiftiHeader) else _EMPTY
        header = known.header.copy()
        header.set_data_dtype(array.dtype)
        header["cal_min"] = header["cal_max"] = 0
        affine = in_millimetres(space.affine, 1 / known.unit_mm)
        image: Any = known.image_type(array, affine, header)
        with atomic_write(path, "wb") as file:
            if path.name.lower().endswith(".gz"):
                with gzip.GzipFile("", "wb", compresslevel=1, fileobj=file, mtime=0) as stream:
                    image.to_stream(stream)
            else:
                image.to_stream(file)


def in_millimetres(affine: Array, unit: float) -> Array:
    """An affine in a unit of so many millimetres, as one in millimetres."""
    return affine if unit == 1 else np.diag([unit, unit, unit, 1]) @ affine


def _hint(path: Path) -> str:
    """What the file is instead, where its first bytes tell."""
    with contextlib.suppress(OSError), path.open("rb") as file:
        compressed = file.read(2) == GZIP
        if compressed != path.name.lower().endswith(".gz") and path.stat().st_size:
            is_, named = ("is", ".nii.gz") if compressed else ("is not", ".nii")
            return f". It {is_} compressed: if it is a NIfTI file, rename it to {named}"
    return ""


_EMPTY = NiftiHeader(nibabel.Nifti1Image, nibabel.Nifti1Header())

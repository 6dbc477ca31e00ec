"""NIfTI files: .nii and .nii.gz, versions 1 and 2."""

import gzip
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel

from msdk_rt.artifact.files import atomic_write
from msdk_rt.errors import InputError
from msdk_rt.imaging.space import Space, check_affine
from msdk_rt.imaging.voxels import UNREADABLE, read_voxels
from msdk_rt.inference.arrays import Array


@dataclass(frozen=True, eq=False)
class NiftiHeader:
    """The part of an input file that its result keeps. image_type: Nifti1Image or Nifti2Image."""

    image_type: type[nibabel.Nifti1Image]
    header: nibabel.Nifti1Header


class NiftiImage:
    """An opened NIfTI file; implements msdk_rt.imaging.formats.Image."""

    def __init__(self, image: nibabel.Nifti1Image, path: Path):
        self._image, self._path = image, path
        self.shape: tuple[int, ...] = image.shape
        self.affine: Array = image.affine

    def voxels(self) -> Array:
        return read_voxels(self._image, self._path)

    def space(self, orientation: str) -> Space:
        x, y, z = self.shape[:3]
        header = NiftiHeader(type(self._image), self._image.header.copy())
        return Space(self.affine, (x, y, z), orientation, header)


class Nifti:
    """Implements msdk_rt.imaging.formats.Format."""

    suffixes = (".nii.gz", ".nii")

    def open(self, path: Path, *, series: bool) -> NiftiImage:
        if not path.is_file():
            raise InputError(f"no file at {path}: expected a NIfTI volume (.nii or .nii.gz)")
        try:
            image: Any = nibabel.load(path)
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
            raise InputError(
                f"{path} holds {image.get_data_dtype()} voxels, expected integers or real numbers"
            )
        check_affine(affine, path)
        return NiftiImage(image, path)

    def write(self, array: Array, space: Space, path: Path) -> None:
        """Affine, qform and sform codes, zooms, units and description are the input's, where it was a NIfTI
        file; data type, scaling and display range are the array's.
        """
        known = space.header if isinstance(space.header, NiftiHeader) else _EMPTY
        header = known.header.copy()
        header.set_data_dtype(array.dtype)
        header["cal_min"] = header["cal_max"] = 0
        image: Any = known.image_type(array, space.affine, header)
        with atomic_write(path, "wb") as file:
            if path.name.lower().endswith(".gz"):
                with gzip.GzipFile("", "wb", compresslevel=1, fileobj=file, mtime=0) as stream:
                    image.to_stream(stream)
            else:
                image.to_stream(file)


_EMPTY = NiftiHeader(nibabel.Nifti1Image, nibabel.Nifti1Header())

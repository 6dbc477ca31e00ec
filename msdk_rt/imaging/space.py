"""The voxel space of an image file, and the reorientation between its axes and the model's."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from nibabel.orientations import apply_orientation, axcodes2ornt, io_orientation, ornt_transform

from msdk_rt.artifact.notes import InputWarning
from msdk_rt.artifact.recipe_rules import FILE_AXES, is_file_axes
from msdk_rt.artifact.spacing import in_words, range_in_words
from msdk_rt.errors import InputError
from msdk_rt.inference.arrays import Array

SAME_SPACE_LIMIT = 0.1
FAR_SPACING = 2.0  # times larger or smaller than the spacings that a network knows


class Placed(Protocol):
    """Voxels with a place. shape: the first three are (X, Y, Z). affine: voxel to millimetres (4, 4)."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def affine(self) -> Array: ...


@dataclass(frozen=True, eq=False)
class Space:
    """Where the voxels of an input file lie.

    affine: voxel to millimetres (4, 4). shape: (X, Y, Z) in the file's axis order. orientation: axis codes of
    the model's (D, H, W), or the file's axes X, Y, Z in that order. header: the file's header as its format
    keeps it, for results in this space; None where there was no file. sides: millimetres of a voxel along X,
    Y, Z as the file says them; default: as the affine does.
    """

    affine: Array
    shape: tuple[int, int, int]
    orientation: str = "RAS"
    header: Any = None
    sides: tuple[float, float, float] | None = None

    @property
    def voxel_ml(self) -> float:
        """Volume of one voxel in millilitres, for an affine in millimetres."""
        return float(abs(np.linalg.det(self.affine[:3, :3]))) / 1000

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Millimetres between voxels along the model's D, H and W, for an affine in millimetres."""
        sides = sides_of(self.affine) if self.sides is None else np.array(self.sides)
        if is_file_axes(self.orientation):
            d, h, w = (float(side) for side in sides[self._axes()])
            return d, h, w
        of_file, of_model = (axes[:, 0] for axes in self._orientations())
        d, h, w = (float(sides[of_file == axis][0]) for axis in of_model)
        return d, h, w

    def to_model(self, array: Array) -> Array:
        """A view of (X, Y, Z), in the file's axis order, as the model's (D, H, W)."""
        if is_file_axes(self.orientation):
            return np.transpose(array, self._axes())
        turned: Array = apply_orientation(array, ornt_transform(*self._orientations()))
        return turned

    def from_model(self, array: Array) -> Array:
        """A view of (D, H, W), in the model's axis order, as the file's (X, Y, Z)."""
        if is_file_axes(self.orientation):
            return np.transpose(array, np.argsort(self._axes()).tolist())
        turned: Array = apply_orientation(array, ornt_transform(*reversed(self._orientations())))
        return turned

    def _axes(self) -> list[int]:
        """The file's axes that are the model's D, H and W, for an orientation such as ZYX."""
        return [FILE_AXES.index(axis) for axis in self.orientation]

    def _orientations(self) -> tuple[Array, Array]:
        return io_orientation(self.affine), axcodes2ornt(self.orientation)


def warn_of_spacing(space: Space, known: Mapping[str, Sequence[float]] | None) -> None:
    """Give an InputWarning for voxels far larger or smaller than those that a network knows.

    known: a manifest's entry `spacing`; None warns of nothing.
    """
    if known is None:
        return
    sides, low, high = space.spacing, known["low"], known["high"]
    ratios = (max(side / most, least / side) for side, least, most in zip(sides, low, high, strict=True))
    if max(ratios) > FAR_SPACING:
        warnings.warn(
            f"its voxels have {in_words(sides)} mm along the model's axes, and the model was trained or "
            f"checked with {range_in_words(known)} mm: its labels may be wrong, resample the image first",
            InputWarning,
            stacklevel=2,
        )


def sides_of(affine: Array) -> Array:
    """Of a voxel, along the file's axes, in the unit of its affine (4, 4)."""
    sides: Array = np.linalg.norm(affine[:3, :3], axis=0)
    return sides


def check_affine(affine: Array, path: Path) -> None:
    """Raise InputError unless the affine is finite and invertible."""
    linear = affine[:3, :3]
    box = sides_of(affine).prod()
    if not np.isfinite(affine).all() or not abs(np.linalg.det(linear)) > 1e-6 * box:
        raise InputError(
            f"{path} has an affine that is not finite and invertible, {affine.tolist()}: repair its sform or "
            "qform"
        )


def check_result_space(source: Placed, result: Placed, source_path: Path, path: Path, maps: int) -> None:
    """Raise InputError unless `result` is of `maps` volumes in the space of `source`."""
    check_same_space(source, result, source_path, path)
    if int(np.prod(result.shape[3:])) != maps:
        raise InputError(f"{path} has shape {result.shape}, expected {maps} volume(s)")


def check_same_space(first: Placed, other: Placed, path: Path, other_path: Path) -> None:
    """Raise InputError unless both have one shape and corners within SAME_SPACE_LIMIT of a voxel side."""
    if first.shape[:3] != other.shape[:3]:
        raise InputError(
            f"{other_path} has shape {other.shape[:3]}, and {path} has {first.shape[:3]}: resample them "
            "onto one grid first"
        )
    ends: Sequence[tuple[int, int]] = [(0, n - 1) for n in first.shape[:3]]
    corners = np.stack([*np.meshgrid(*ends), np.ones((2, 2, 2))], -1)
    distance = np.linalg.norm((corners @ (first.affine - other.affine).T)[..., :3], axis=-1).max()
    limit = SAME_SPACE_LIMIT * sides_of(first.affine).min()
    if distance > limit:
        raise InputError(
            f"{other_path} lies up to {distance:.3g} mm away from {path} (limit {limit:.3g} mm): their "
            "affines differ, resample them onto one grid first"
        )

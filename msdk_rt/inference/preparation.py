"""What comes before a network's windows: crop, normalisation, resampling. The way back is in way_back.py."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from msdk_rt.errors import InputError
from msdk_rt.inference.arrays import Floats
from msdk_rt.inference.foreground import Box, nonzero_box
from msdk_rt.inference.recipe import Recipe
from msdk_rt.inference.resampling import resample, resampled_shape, separate_z
from msdk_rt.inference.stages import Stages

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Prepared:
    """A volume as the network sees it.

    volume: (C, D, H, W) float32. whole: shape of the volume that it was made of. box: the part of that which
    was kept. spacing: millimetres along D, H, W of both the volume as it came and as the network sees it;
    None where nothing is resampled.
    """

    volume: Floats
    whole: Shape
    box: Box
    spacing: tuple[Sequence[float], Sequence[float]] | None = None

    @property
    def kept(self) -> Shape:
        """Shape of the box."""
        d, h, w = (side.stop - side.start for side in self.box)
        return d, h, w


def prepare(
    recipe: Recipe,
    volume: Floats,
    spacing: Sequence[float] | None,
    stages: Stages | None = None,
    threads: int | None = None,
) -> Prepared:
    """Crop, normalise and resample a volume (C, D, H, W), in this order, as nnU-Net does.

    spacing: its millimetres along D, H, W. stages: takes the times of "crop", "normalise" and "resample".
    threads: of the resampling; default: one per physical core. Raises InputError where the recipe needs a
    spacing and there is none, or where it leaves no voxel.
    """
    stages, manifest = stages or Stages(), recipe.manifest
    d, h, w = volume.shape[1:]
    with stages("crop"):
        box = nonzero_box(volume) if manifest.crop else (slice(0, d), slice(0, h), slice(0, w))
        cropped = volume[of_channels(box)]
    with stages("normalise"):
        normalised = recipe.normalisation().on_host(cropped)
    resampling = manifest.resampling
    if resampling is None:
        return Prepared(normalised, (d, h, w), box)
    own = checked_spacing(spacing)
    wanted = target_spacing(resampling, own)
    image = resampling["image"]
    with stages("resample"):
        resampled = resample(
            normalised,
            resampled_shape(normalised.shape[1:], own, wanted),
            order=image["order"],
            separate_axis=separate_axis(image["separate_z"], own, wanted),
            order_z=image["order_z"],
            threads=threads,
        )
    return Prepared(resampled, (d, h, w), box, (own, wanted))


def shape_for_network(recipe: Recipe, shape: Sequence[int], spacing: Sequence[float] | None) -> Shape:
    """Shape (D, H, W) at the network's spacing of a volume of which nothing is cropped. Raises InputError."""
    if recipe.manifest.resampling is None:
        d, h, w = shape
        return d, h, w
    own = checked_spacing(spacing)
    return resampled_shape(shape, own, target_spacing(recipe.manifest.resampling, own))


def target_spacing(resampling: Mapping[str, Any], spacing: Sequence[float]) -> Sequence[float]:
    """Spacing that the network sees of an image of this spacing. resampling: a manifest's entry."""
    sides = zip(resampling["spacing"], spacing, strict=True)
    return tuple(own if wanted is None else wanted for wanted, own in sides)


def separate_axis(rule: str, spacing: Sequence[float], new_spacing: Sequence[float]) -> int | None:
    """The axis along which planes are resampled by themselves; None where all axes are resampled at once.

    rule: "auto": nnU-Net's, see separate_z. "always": the axis of the longest side of `spacing`, if there is
    just one. "never".
    """
    if rule == "auto":
        return separate_z(spacing, new_spacing)
    longest = [axis for axis, side in enumerate(spacing) if max(spacing) / side == 1]
    return longest[0] if rule == "always" and len(longest) == 1 else None


def checked_spacing(spacing: Sequence[float] | None) -> Sequence[float]:
    """Three lengths in millimetres. Raises InputError for none, and for what is no length."""
    if spacing is None:
        raise InputError(
            "the model resamples volumes to its own spacing, and an array has none: pass spacing=(D, H, W), "
            "the millimetres between its voxels, or give files"
        )
    sides = np.asarray(spacing, dtype=object).ravel().tolist()
    if len(sides) != 3 or not all(_is_length(side) for side in sides):
        raise InputError(f"spacing must be three lengths in millimetres along D, H, W, got {spacing!r}")
    return tuple(map(float, sides))


def _is_length(side: object) -> bool:
    try:
        return 0 < float(side) < float("inf")  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return False


def of_channels(box: Box) -> tuple[slice, ...]:
    """The box in (C, D, H, W)."""
    return (slice(None), *box)

"""A manifest's recipe, as a person would say it."""

from collections.abc import Mapping, Sequence
from typing import Any

from msdk_rt.artifact.manifest import Manifest
from msdk_rt.artifact.recipe_rules import is_file_axes

SCHEMES = {
    "zscore": "mean 0 and deviation 1 of the voxels that were kept",
    "masked_zscore": "mean 0 and deviation 1 of the voxels inside the mask of what is not 0",
    "ct": "clipped to {low:g} to {high:g}, minus {mean:.4g}, over {std:.4g}",
    "rescale_to_01": "from its minimum and maximum to 0 and 1",
    "rgb_to_01": "colours from 0 to 255, over 255",
    "none": "as they are",
}
ORDERS = {0: "nearest", 1: "linear", 3: "cubic"}
SEPARATE = {
    "auto": ", planes by themselves where a voxel is more than 3 times as long as wide",
    "always": ", planes across the longest side by themselves",
    "never": "",
}
NNUNETS = ", as nnU-Net adds them up: where classes are nearly as likely, that decides the label"
AXES = ("D", "H", "W")


def axes_in_words(manifest: Manifest) -> str:
    """The axes of a window."""
    if is_file_axes(manifest.orientation):
        return f"the file's own axes {', '.join(manifest.orientation)}"
    return f"axes {manifest.orientation}"


def normalisation_in_words(manifest: Manifest) -> str:
    """The normalisation of the intensities, by channel where they differ."""
    if isinstance(manifest.normalization, str):
        return manifest.normalization
    said = [SCHEMES[entry["scheme"]].format(**entry) for entry in manifest.normalization]
    if len(set(said)) == 1:
        return said[0]
    return "; ".join(f"{name}: {words}" for name, words in zip(manifest.channels, said, strict=True))


def recipe_in_words(manifest: Manifest) -> dict[str, str]:
    """Rows about what format 2 adds to a manifest, of those that it has."""
    rows = {}
    if manifest.brain_mask:
        side = manifest.brain_mask["spacing"]
        moved = ", its edge moved by the image's intensities" if "edge" in manifest.brain_mask else ""
        rows["brain mask"] = f"of the first channel, by a network at {side:g} mm{moved}; labels are 0 outside"
    if manifest.crop:
        rows["crop"] = "to the voxels that are not 0 in some channel; labels are 0 outside"
    if manifest.resampling:
        rows["resampling"] = _resampling(manifest.resampling)
    if manifest.sums:
        rows["sums"] = f"of windows in {manifest.sums}{NNUNETS if manifest.sums == 'float16' else ''}"
    if manifest.mirror_axes:
        views = 2 ** len(manifest.mirror_axes)
        along = ", ".join(AXES[axis] for axis in manifest.mirror_axes)
        rows["mirroring"] = f"along {along}: {views} times the work; --no-mirror leaves it out"
    if manifest.regions:
        rows["regions"] = "; ".join(
            f"{name} of {', '.join(map(str, values))}" for name, values in manifest.regions.items()
        )
    if "folds" in manifest.config:
        rows["folds"] = _folds(manifest)
    if manifest.file_ending:
        rows["results"] = f"<case>{manifest.file_ending}"
    if manifest.plausible_ml:
        limits = manifest.plausible_ml.items()
        known = "; ".join(f"{name} {low:g} to {high:g} ml" for name, (low, high) in limits)
        rows["plausible"] = f"{known}; other volumes are a warning"
    return rows


def _folds(manifest: Manifest) -> str:
    folds = ", ".join(map(str, manifest.config["folds"]))
    if manifest.folds:
        return f"{folds}; averaged once the windows of each are added up"
    if len(manifest.config["folds"]) > 1:
        return f"{folds}; averaged window by window: export again to average as nnU-Net does"
    return folds


def _resampling(entry: Mapping[str, Any]) -> str:
    spacing: Sequence[float | None] = entry["spacing"]
    sides = " x ".join("its own" if side is None else f"{side:.4g}" for side in spacing)
    image, logits = entry["image"], entry["logits"]
    return (
        f"to {sides} mm, {ORDERS[image['order']]}{SEPARATE[image['separate_z']]}; logits back, "
        f"{ORDERS[logits['order']]}"
    )

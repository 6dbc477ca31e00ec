"""From a network's logits back to the volume as it came: resampled to labels or probabilities, un-cropped."""

from typing import Any

import numpy as np

from msdk_rt.inference.arrays import Array, Floats
from msdk_rt.inference.labels import label_type, label_voxels, probabilities_of
from msdk_rt.inference.preparation import Prepared, of_channels, separate_axis
from msdk_rt.inference.recipe import Recipe
from msdk_rt.inference.resampling import (
    LabelsByPlanes,
    by_planes,
    resample_to_labels,
    resample_to_probabilities,
)


class WayBack:
    """Fills `labels` (D, H, W) of the whole volume from logits that come a few planes at a time.

    They are the labels of labels_of, but only those planes of logits exist.
    """

    def __init__(self, recipe: Recipe, prepared: Prepared, threads: int | None = None):
        self._values, self._activation = recipe.label_values(), recipe.manifest.activation
        self.labels: Array = np.zeros(prepared.whole, label_type(self._values))
        self._inside = self.labels[prepared.box]
        self._resampled: LabelsByPlanes | None = None
        if _changes_shape(prepared):
            self._resampled = LabelsByPlanes(
                prepared.volume.shape[1:],
                self._inside,
                self._values,
                self._activation,
                **_interpolation(recipe, prepared),
                half=recipe.half_sums,
                threads=threads,
            )

    def take(self, first: int, planes: Floats) -> None:
        """Take blended logits (K, n, H, W) as blend_planes gives them."""
        if self._resampled:
            self._resampled.take(first, planes)
        else:
            labels = label_voxels(planes, self._values, self._activation)
            self._inside[first : first + planes.shape[1]] = labels


def goes_back_by_planes(recipe: Recipe, prepared: Prepared) -> bool:
    """Whether WayBack can."""
    return not _changes_shape(prepared) or by_planes(**_interpolation(recipe, prepared))


def _changes_shape(prepared: Prepared) -> bool:
    return prepared.spacing is not None and prepared.volume.shape[1:] != prepared.kept


def labels_of(recipe: Recipe, logits: Floats, prepared: Prepared, threads: int | None = None) -> Array:
    """Voxel values (D, H, W) of the whole volume, of logits (K, D, H, W) as the network gave them.

    Voxels that were cropped away get 0.
    """
    values, activation = recipe.label_values(), recipe.manifest.activation
    if not _changes_shape(prepared):
        inside = label_voxels(logits, values, activation)
    else:
        inside = resample_to_labels(
            logits,
            prepared.kept,
            values,
            activation,
            **_interpolation(recipe, prepared),
            half=recipe.half_sums,
            threads=threads,
        )
    labels = np.zeros(prepared.whole, inside.dtype)
    labels[prepared.box] = inside
    return labels


def probabilities_at(
    recipe: Recipe, logits: Floats, prepared: Prepared, threads: int | None = None
) -> Floats:
    """Probabilities (K, D, H, W) of the whole volume; the logits may be overwritten.

    Voxels that were cropped away are the first channel for softmax, and in no region for sigmoid.
    """
    activation = recipe.manifest.activation
    if prepared.spacing is None:
        inside = probabilities_of(logits, activation)
    else:
        inside = resample_to_probabilities(
            logits,
            prepared.kept,
            activation,
            **_interpolation(recipe, prepared),
            half=recipe.half_sums,
            threads=threads,
        )
    if prepared.kept == prepared.whole:
        return inside
    maps = np.zeros((len(inside), *prepared.whole), np.float32)
    if activation == "softmax":
        maps[0] = 1
    maps[of_channels(prepared.box)] = inside
    return maps


def _interpolation(recipe: Recipe, prepared: Prepared) -> dict[str, Any]:
    """Arguments of the resampling of logits."""
    assert prepared.spacing is not None
    assert recipe.manifest.resampling is not None
    own, network = prepared.spacing
    entry = recipe.manifest.resampling["logits"]
    axis = separate_axis(entry["separate_z"], network, own)
    return {"order": entry["order"], "separate_axis": axis, "order_z": entry["order_z"]}

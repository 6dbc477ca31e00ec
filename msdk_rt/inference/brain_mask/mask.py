"""Finds the brain in a volume."""

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from msdk_rt.artifact.notes import InputWarning
from msdk_rt.inference.arrays import Floats
from msdk_rt.inference.brain_mask.field import head_box, scaled
from msdk_rt.inference.brain_mask.grids import above, coarse_means
from msdk_rt.inference.brain_mask.grooves import fill_grooves
from msdk_rt.inference.brain_mask.network import logits_of
from msdk_rt.inference.brain_mask.weights import weights_of
from msdk_rt.inference.foreground import Mask, connected_to, without_holes

STRIPPED = 0.85  # of an image's intensity; a brain that has as much is stripped already
SURELY = 0.9  # probability of a voxel that is surely brain
USUAL = 0.81  # share of such voxels in a mask; less is a warning (export/weights/README.md says how often)
SURE = 10.0  # by which a logit is above or below the threshold's where it is decided
GROOVE = 4.0  # mm, to the nearest two voxels: a groove of the mask that is no wider is filled, as a sulcus is


def find_brain(entry: Mapping[str, Any], image: Floats, spacing: Sequence[float]) -> Mask | None:
    """Where the brain is in an image (D, H, W), one piece without holes or narrow grooves; None: all of it.

    entry: a manifest's brain_mask. spacing: millimetres along D, H, W. The whole image is kept where
    the brain has nearly all intensity, since that is stripped already and a coarse mask would only cut its
    edge, and, with an InputWarning, where no voxel looks like brain. A mask that is unsure of its voxels is
    an InputWarning too.
    """
    relative = scaled(coarse_means(image, spacing, entry["spacing"]))
    box = head_box(relative)
    level = math.log(entry["threshold"] / (1 - entry["threshold"]))
    logits = np.full(relative.shape, level - SURE, np.float32)
    logits[box] = logits_of(weights_of(entry), np.ascontiguousarray(relative[box]))
    found = logits > level
    if not found.any():
        warnings.warn(
            "it shows nothing that looks like a brain to the model's brain mask, so the whole image went to "
            "the network: its labels are probably wrong, look at them",
            InputWarning,
            stacklevel=2,
        )
        return None
    brain = without_holes(_largest_piece(found))
    if relative[brain].sum() >= STRIPPED * relative.sum():
        return None
    _warn_if_unsure(logits[brain])
    logits[brain & ~found] = level + SURE
    logits[found & ~brain] = level - SURE
    mask = above(logits, level, image.shape, spacing, entry["spacing"])
    fill_grooves(mask, [round(GROOVE / 2 / side) for side in spacing])
    return mask


def _warn_if_unsure(logits: Floats) -> None:
    """An InputWarning for the logits of a mask's voxels, if too few of them are surely brain."""
    share = np.count_nonzero(logits > math.log(SURELY / (1 - SURELY))) / logits.size
    if share < USUAL:
        warnings.warn(
            f"the model's brain mask is unsure of this image: {share:.1%} of it is brain with a probability "
            f"above {SURELY:g} (expected {USUAL:.0%} or more). The result may leave the brain or miss parts "
            "of it; look at it before you use it",
            InputWarning,
            stacklevel=3,
        )


def _largest_piece(mask: Mask) -> Mask:
    """The connected voxels that are most."""
    rest, largest = mask.copy(), np.zeros_like(mask)
    while np.count_nonzero(rest) > np.count_nonzero(largest):
        seed = np.zeros_like(mask)
        seed[np.unravel_index(int(np.argmax(rest)), mask.shape)] = True
        piece = connected_to(seed, rest)
        if np.count_nonzero(piece) > np.count_nonzero(largest):
            largest = piece
        rest &= ~piece
    return largest

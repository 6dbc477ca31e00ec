"""Finds the brain in a volume."""

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from msdk_rt.artifact.notes import InputWarning
from msdk_rt.inference.arrays import Floats
from msdk_rt.inference.brain_mask.edge import move_edge
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

    entry: a manifest's brain_mask; with an "edge" the edge of that piece then moves by the image's voxels.
    spacing: millimetres along D, H, W. The whole image is kept where the brain has nearly all intensity,
    since that is stripped already and a coarse mask would only cut its edge, and, with an InputWarning, where
    no voxel looks like brain. A mask that is unsure of its voxels is an InputWarning too, and its edge stays.
    """
    coarse = coarse_means(image, spacing, entry["spacing"])
    relative = scaled(coarse)
    box = head_box(relative)
    level = _logit(entry["threshold"])
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
    sure = _is_sure(logits[brain])
    logits[brain & ~found] = level + SURE
    logits[found & ~brain] = level - SURE
    grooves = [round(GROOVE / 2 / side) for side in spacing]
    mask = above(logits, level, image.shape, spacing, entry["spacing"])
    fill_grooves(mask, grooves)
    edge = entry.get("edge")
    if edge and sure:
        likely = above(logits, _logit(edge["threshold"]), image.shape, spacing, entry["spacing"])
        fill_grooves(likely, grooves)
        scale = float(coarse.min()), float(np.median(coarse[brain]))
        move_edge(edge, mask, likely, image, scale, spacing)
    return mask


def _logit(probability: float) -> float:
    return math.log(probability / (1 - probability))


def _is_sure(logits: Floats) -> bool:
    """Whether enough of the logits of a mask's voxels are surely brain; an InputWarning if they are not."""
    share = np.count_nonzero(logits > _logit(SURELY)) / logits.size
    sure = bool(share >= USUAL)
    if not sure:
        warnings.warn(
            f"the model's brain mask is unsure of this image: {share:.1%} of it is brain with a probability "
            f"above {SURELY:g} (expected {USUAL:.0%} or more). The result may leave the brain or miss parts "
            "of it; look at it before you use it",
            InputWarning,
            stacklevel=3,
        )
    return sure


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

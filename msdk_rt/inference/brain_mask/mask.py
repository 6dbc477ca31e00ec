"""Finds the brain in a volume."""

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from msdk_rt.artifact.notes import InputWarning
from msdk_rt.inference.arrays import Floats
from msdk_rt.inference.brain_mask.grids import above, coarse_means
from msdk_rt.inference.brain_mask.network import logits_of
from msdk_rt.inference.brain_mask.weights import weights_of
from msdk_rt.inference.foreground import Box, Mask, connected_to, nonzero_box, without_holes

BRIGHTEST = 4.0  # of a scaled image
STRIPPED = 0.85  # of an image's intensity; a brain that has as much is stripped already
MARGIN = 2  # coarse voxels of air that the network sees around the image
SURE = 10.0  # by which a logit is above or below the threshold's where it is decided


def find_brain(entry: Mapping[str, Any], image: Floats, spacing: Sequence[float]) -> Mask | None:
    """Where the brain is in an image (D, H, W), one piece without holes; None to keep the whole image.

    entry: a manifest's brain_mask. spacing: millimetres along D, H, W. The whole image is kept where
    the brain has nearly all intensity, since that is stripped already and a coarse mask would only cut its
    edge, and, with an InputWarning, where no voxel looks like brain.
    """
    relative = scaled(coarse_means(image, spacing, entry["spacing"]))
    box = _with_margin(nonzero_box(relative[None]), relative.shape)
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
    logits[brain & ~found] = level + SURE
    logits[found & ~brain] = level - SURE
    return above(logits, level, image.shape, spacing, entry["spacing"])


def scaled(image: Floats) -> Floats:
    """Intensities from 0, relative to the mean of those above the mean."""
    image = image - image.min()
    bright = image[image > image.mean()]
    level = float(bright.mean()) if bright.size else 1.0
    relative: Floats = np.minimum(image / np.float32(max(level, 1e-12)), np.float32(BRIGHTEST))
    return relative


def _with_margin(box: Box, shape: Sequence[int]) -> Box:
    d, h, w = (
        slice(max(0, side.start - MARGIN), min(size, side.stop + MARGIN))
        for side, size in zip(box, shape, strict=True)
    )
    return d, h, w


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

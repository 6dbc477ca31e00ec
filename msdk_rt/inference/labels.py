"""From blended logits to voxel values and probabilities, and how well two label maps agree."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from msdk_rt.inference.arrays import Array, Floats
from msdk_rt.inference.planes import plane_blocks


def label_type(values: Sequence[int]) -> np.dtype[Any]:
    """uint8, or uint16 where a label's value needs it."""
    return np.dtype(np.uint8 if max(values) <= 255 else np.uint16)


def label_voxels(logits: Array, values: Sequence[int], activation: str) -> Array:
    """Voxel values (D, H, W), uint8 or, for values above 255, uint16, of logits (K, D, H, W).

    softmax: the value of the largest logit, the first of equals. sigmoid: the value of the last channel whose
    probability exceeds 0.5, else 0 (nnU-Net's regions_class_order).
    """
    labels = np.empty(logits.shape[1:], label_type(values))
    label = _label_regions if activation == "sigmoid" else _label_classes
    for planes in plane_blocks(len(labels), labels[0].size):
        label(labels[planes], logits[:, planes], values)
    return labels


def _label_regions(labels: Array, logits: Array, values: Sequence[int]) -> None:
    labels[...] = 0
    for channel, value in zip(logits, values, strict=True):
        labels[channel > 0] = value


def _label_classes(labels: Array, logits: Array, values: Sequence[int]) -> None:
    labels[...] = values[0]
    best = logits[0].copy()
    for channel, value in zip(logits[1:], values[1:], strict=True):
        labels[channel > best] = value
        np.maximum(best, channel, out=best)


def probabilities_of(logits: Floats, activation: str) -> Floats:
    """Softmax over channels, or the sigmoid of each, of logits (K, D, H, W), which are overwritten."""
    if activation == "sigmoid":
        # tanh saturates where exp would overflow.
        logits *= 0.5
        np.tanh(logits, out=logits)
        logits += 1
        logits *= 0.5
        return logits
    logits -= logits.max(axis=0)
    np.exp(logits, out=logits)
    logits /= logits.sum(axis=0)
    return logits


def dice(labels: Array, reference: Array, values: dict[str, int]) -> dict[str, float]:
    """Dice coefficient 2 |A and B| / (|A| + |B|) of each named value; NaN where neither map has it."""
    coefficients = {}
    for name, value in values.items():
        found, expected = labels == value, reference == value
        total = np.count_nonzero(found) + np.count_nonzero(expected)
        overlap = np.count_nonzero(found & expected)
        coefficients[name] = float(2 * overlap / total) if total else float("nan")
    return coefficients

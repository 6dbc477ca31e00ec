"""The manifest's entry brain_mask: the network that finds the brain before the recipe's windows."""

import base64
import binascii
import math
from collections.abc import Sequence

import numpy as np

from msdk_rt.artifact.values import is_int, is_number

LARGEST_WIDTH = 128
MOST_LEVELS = 6
SPACINGS = (0.5, 20.0)  # mm
FARTHEST = 50.0  # mm
BRIGHTEST = 10.0
EDGE = {"threshold", "reach", "darkest", "brightest", "depth", "axes"}
RULE = (
    "null, or {spacing: millimetres from 0.5 to 20, threshold: a probability between 0 and 1, widths: one to "
    f"{MOST_LEVELS} channel counts up to {LARGEST_WIDTH}, weights: base64 of their finite float16 values, "
    "perhaps edge: {threshold: a probability above 0 and no larger, reach and depth: millimetres from 0 to "
    f"{FARTHEST:g}, darkest and brightest: shares of the brain's intensity from 0 to {BRIGHTEST:g}, axes: "
    "different ones among 0, 1, 2}}"
)

Shape = tuple[int, ...]


def tensor_shapes(widths: Sequence[int]) -> list[Shape]:
    """Shapes of the network's tensors in the order of the weights: a kernel, scale and shift for each block,
    two blocks a level on the way down and one a level on the way up; at last the head's kernel and bias.
    """
    shapes: list[Shape] = []
    for before, width in zip((1, *widths[:-1]), widths, strict=True):
        shapes += [*_block(before, width), *_block(width, width)]
    for low, high in zip(widths[:0:-1], widths[-2::-1], strict=True):
        shapes += _block(low + high, high)
    return [*shapes, (1, widths[0]), (1,)]


def _block(inputs: int, outputs: int) -> list[Shape]:
    return [(outputs, inputs, 3, 3, 3), (outputs,), (outputs,)]


def is_brain_mask(value: object) -> bool:
    """Whether a manifest's value keeps RULE."""
    if value is None:
        return True
    if not isinstance(value, dict) or value.keys() - {"edge"} != {
        "spacing",
        "threshold",
        "widths",
        "weights",
    }:
        return False
    low, high = SPACINGS
    return (
        is_number(value["spacing"])
        and low <= value["spacing"] <= high
        and is_number(value["threshold"])
        and 0 < value["threshold"] < 1
        and _are_widths(value["widths"])
        and _are_weights(value["weights"], value["widths"])
        and ("edge" not in value or _is_edge(value["edge"], value["threshold"]))
    )


def _is_edge(value: object, threshold: float) -> bool:
    if not isinstance(value, dict) or value.keys() != EDGE:
        return False
    axes = value["axes"]
    return (
        is_number(value["threshold"])
        and 0 < value["threshold"] <= threshold
        and all(is_number(value[name]) and 0 <= value[name] <= FARTHEST for name in ("reach", "depth"))
        and all(is_number(value[name]) and 0 <= value[name] <= BRIGHTEST for name in ("darkest", "brightest"))
        and isinstance(axes, (list, tuple))
        and all(is_int(axis) and 0 <= axis < 3 for axis in axes)
        and len(set(axes)) == len(axes)
    )


def _are_widths(value: object) -> bool:
    return (
        isinstance(value, (list, tuple))
        and 1 <= len(value) <= MOST_LEVELS
        and all(is_int(width) and 1 <= width <= LARGEST_WIDTH for width in value)
    )


def _are_weights(value: object, widths: Sequence[int]) -> bool:
    if not isinstance(value, str):
        return False
    expected = 2 * sum(math.prod(shape) for shape in tensor_shapes(widths))
    if len(value) != 4 * math.ceil(expected / 3):
        return False
    try:
        content = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return False
    return len(content) == expected and bool(np.isfinite(np.frombuffer(content, "<f2")).all())

"""The weights of a brain mask's network, as a manifest's entry holds them."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from msdk_rt.artifact.brain_mask_entry import tensor_shapes
from msdk_rt.inference.arrays import Floats


@dataclass(frozen=True)
class Block:
    """A convolution, and the scale and shift (O, 1) of the instance norm after it.

    kernel: (9 * O, 3 * C): rows by taps along D and H and output, columns by taps along W and input.
    """

    kernel: Floats
    scale: Floats
    shift: Floats


@dataclass(frozen=True)
class Weights:
    """down: two blocks a level, finest first. up: one a level, coarsest first. head: (1, C), and bias."""

    down: tuple[tuple[Block, Block], ...]
    up: tuple[Block, ...]
    head: Floats
    bias: float


def weights_of(entry: Mapping[str, Any]) -> Weights:
    """The weights of a manifest's entry that was checked."""
    return _read(tuple(entry["widths"]), entry["weights"])


@lru_cache(maxsize=2)
def _read(widths: tuple[int, ...], text: str) -> Weights:
    values = np.frombuffer(base64.b64decode(text), "<f2").astype(np.float32)
    tensors, start = [], 0
    for shape in tensor_shapes(widths):
        size = int(np.prod(shape))
        tensors.append(values[start : start + size].reshape(shape))
        start += size
    blocks = [_block(*tensors[first : first + 3]) for first in range(0, len(tensors) - 2, 3)]
    levels = len(widths)
    down = tuple((blocks[2 * level], blocks[2 * level + 1]) for level in range(levels))
    return Weights(down, tuple(blocks[2 * levels :]), tensors[-2], float(tensors[-1][0]))


def _block(kernel: Floats, scale: Floats, shift: Floats) -> Block:
    outputs, inputs = kernel.shape[:2]
    by_taps = kernel.transpose(2, 3, 0, 4, 1).reshape(9 * outputs, 3 * inputs)
    return Block(np.ascontiguousarray(by_taps), scale[:, None], shift[:, None])


def packed(tensors: Sequence[Floats]) -> str:
    """The text of tensors in the order of tensor_shapes, rounded to float16."""
    flat = np.concatenate([np.asarray(tensor, "<f2").ravel() for tensor in tensors])
    return base64.b64encode(flat.tobytes()).decode()

"""The brain mask's network in NumPy; its twin in PyTorch is msdk_export.brain_mask.network."""

import numpy as np

from msdk_rt.inference.arrays import Floats
from msdk_rt.inference.brain_mask.weights import Block, Weights

SLOPE = 0.01  # of the leaky ReLU
EPSILON = 1e-5  # of the instance norm
BLOCK_BYTES = 2 << 20  # that one matrix product reads and writes, so that a cache holds them


def logits_of(weights: Weights, image: Floats) -> Floats:
    """Logits (D, H, W) of a scaled image (D, H, W) float32, padded with 0 to what the levels need."""
    multiple = 2 ** (len(weights.down) - 1)
    x = np.pad(image, [(0, -side % multiple) for side in image.shape])[None]
    skips = []
    for level, blocks in enumerate(weights.down):
        x = _halved(x) if level else x
        for block in blocks:
            x = _applied(block, x)
        skips.append(x)
    for block, skip in zip(weights.up, skips[-2::-1], strict=True):
        x = _applied(block, np.concatenate([_doubled(x), skip]))
    logits: Floats = np.tensordot(weights.head[0], x, 1) + np.float32(weights.bias)
    d, h, w = image.shape
    return logits[:d, :h, :w]


def _applied(block: Block, x: Floats) -> Floats:
    """Convolution of 3^3 with zeros around, instance norm, leaky ReLU of (C, D, H, W)."""
    out = _convolved(block.kernel, x)
    flat = out.reshape(len(out), -1)
    flat -= flat.mean(axis=1, keepdims=True, dtype=np.float64).astype(np.float32)
    variance = np.einsum("ij,ij->i", flat, flat)[:, None] / np.float32(flat.shape[1])
    flat *= block.scale / np.sqrt(variance + np.float32(EPSILON))
    flat += block.shift
    np.maximum(flat, SLOPE * flat, out=flat)
    return out


def _convolved(kernel: Floats, x: Floats) -> Floats:
    """(C, D, H, W) -> (O, D, H, W), of a Block's kernel.

    In the padded volume as one row a tap is a distance. A matrix product takes the three taps along W of
    some voxels to their part in nine outputs, which are then added where they belong.
    """
    c, d, h, w = x.shape
    row, plane = w + 2, (h + 2) * (w + 2)
    outputs, size = len(kernel) // 9, (d + 2) * plane
    padded = np.zeros((c, size + 2), np.float32)
    padded[:, :size].reshape(c, d + 2, h + 2, row)[:, 1:-1, 1:-1, 1:-1] = x
    out = np.zeros((outputs, size), np.float32)
    step = max(1, BLOCK_BYTES // (4 * sum(kernel.shape)))
    for start in range(0, size, step):
        stop = min(start + step, size)
        columns = np.concatenate([padded[:, start + tap : stop + tap] for tap in range(3)])
        parts = (kernel @ columns).reshape(9, outputs, stop - start)
        for part, (i, j) in zip(parts, np.ndindex(3, 3), strict=True):
            distance = i * plane + j * row
            first = max(start, distance)
            if first < stop:
                out[:, first - distance : stop - distance] += part[:, first - start :]
    return np.ascontiguousarray(out.reshape(outputs, d + 2, h + 2, row)[:, :d, :h, :w])


def _halved(x: Floats) -> Floats:
    """The largest of each 2^3 voxels of (C, D, H, W), whose sides are even."""
    for axis in range(1, 4):
        pairs = np.moveaxis(x, axis, 0)
        x = np.moveaxis(np.maximum(pairs[::2], pairs[1::2]), 0, axis)
    return x


def _doubled(x: Floats) -> Floats:
    """Every voxel of (C, D, H, W) repeated along each axis."""
    return x.repeat(2, axis=1).repeat(2, axis=2).repeat(2, axis=3)

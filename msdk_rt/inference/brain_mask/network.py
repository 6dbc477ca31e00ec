"""The brain mask's network in NumPy; its twin in PyTorch is msdk_export.brain_mask.network."""

import numpy as np

from msdk_rt.inference.arrays import Floats
from msdk_rt.inference.brain_mask.weights import Block, Weights

SLOPE = 0.01  # of the leaky ReLU
EPSILON = 1e-5  # of the instance norm
COLUMN_BYTES = 8 << 20  # of the unfolded input that one matrix product reads


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
    channels, d, h, w = x.shape
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (1, 1)))
    out = np.empty((len(block.kernel), d, h * w), np.float32)
    planes = max(1, COLUMN_BYTES // (27 * channels * h * w * 4))
    for first in range(0, d, planes):
        count = min(planes, d - first)
        columns = np.empty((27, channels, count, h, w), np.float32)
        for tap, (i, j, k) in enumerate(np.ndindex(3, 3, 3)):
            columns[tap] = padded[:, first + i : first + i + count, j : j + h, k : k + w]
        product = block.kernel @ columns.reshape(27 * channels, count * h * w)
        out[:, first : first + count] = product.reshape(len(out), count, h * w)
    flat = out.reshape(len(out), -1)
    flat -= flat.mean(axis=1, keepdims=True, dtype=np.float64).astype(np.float32)
    variance = np.einsum("ij,ij->i", flat, flat)[:, None] / np.float32(flat.shape[1])
    flat *= block.scale / np.sqrt(variance + np.float32(EPSILON))
    flat += block.shift
    np.maximum(flat, SLOPE * flat, out=flat)
    return flat.reshape(len(out), d, h, w)


def _halved(x: Floats) -> Floats:
    """The largest of each 2^3 voxels of (C, D, H, W), whose sides are even."""
    c, d, h, w = x.shape
    pooled: Floats = x.reshape(c, d // 2, 2, h // 2, 2, w // 2, 2).max(axis=(2, 4, 6))
    return pooled


def _doubled(x: Floats) -> Floats:
    """Every voxel of (C, D, H, W) repeated along each axis."""
    return x.repeat(2, axis=1).repeat(2, axis=2).repeat(2, axis=3)

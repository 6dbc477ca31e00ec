"""Device memory for volumes of one shape, counted before it is allocated."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from msdk_rt.backends.base import Device, Graph
from msdk_rt.backends.volume_kernels import VolumeKernels
from msdk_rt.inference.arrays import Array
from msdk_rt.inference.labels import label_type
from msdk_rt.inference.recipe import Recipe

ALIGNMENT = 256
STARTS_BYTES = 3 * 8


class DeviceBytes(NamedTuple):
    """Device memory that a volume takes, in bytes.

    batch_size: windows per inference that this is for. buffers: volume, windows, logits, sums, labels: just
    what is allocated for it. network: what the network works in, allocated once for each thread that uses the
    Segmenter; None where it cannot be known, which is ONNX Runtime's. Neither counts the weights, which are
    there already, nor results that stay there.
    """

    batch_size: int
    buffers: int
    network: int | None


@dataclass(frozen=True)
class Layout:
    """Where each array lies in one block of memory. offsets: {name: byte}; sizes: {name: bytes}."""

    offsets: dict[str, int]
    sizes: dict[str, int]
    total: int


def layout(recipe: Recipe, kernels: VolumeKernels, shape: Sequence[int], batch_size: int) -> Layout:
    """Of all arrays that a volume (D, H, W) needs at `batch_size` windows per inference.

    upload (C, D, H, W): the volume as it came. volume: normalised. image, logits: of a batch. views: sum of
    the logits of mirrored views. total (folds, K, D, H, W), weight_sum: the blend, in the end with the folds'
    mean in the first one's place. starts, flags: of all windows, and of the batch at hand. too_large: whether
    a blended logit is, for float16. counts (C, 2): NaN and infinities of the input.
    """
    manifest = recipe.manifest
    channels, classes, outputs = len(manifest.channels), len(manifest.labels), manifest.logit_channels
    voxels, inside = _product(shape), _product(manifest.window)
    windows = len(recipe.starts(shape))
    sizes = {
        "upload": 4 * channels * voxels,
        "volume": 4 * channels * voxels,
        "image": 4 * batch_size * channels * inside,
        "logits": 4 * batch_size * outputs * inside,
        "views": 4 * batch_size * outputs * inside if recipe.mirror_axes else 0,
        "weights": 4 * inside,
        "total": 4 * outputs * voxels,
        "weight_sum": 4 * voxels,
        "starts": STARTS_BYTES * windows,
        "batch_starts": STARTS_BYTES * batch_size,
        "flags": 4 * windows,
        "batch_flags": 4 * batch_size,
        "too_large": 4,
        "values": 4 * classes,
        "labels": label_type(recipe.label_values()).itemsize * voxels,
        "counts": 2 * 8 * channels,
        "normalize": kernels.normalize_workspace(channels, voxels),
    }
    offsets, total = {}, 0
    for name, size in sizes.items():
        offsets[name] = total
        total += -(-size // ALIGNMENT) * ALIGNMENT
    return Layout(offsets, sizes, total)


class Slot:
    """Page-locked memory where one volume's results arrive; `arrived` is when."""

    def __init__(self, cuda: Device, recipe: Recipe, shape: tuple[int, ...], windows: int):
        self._cuda, self._maps = cuda, (len(recipe.manifest.labels), *shape)
        self.labels = cuda.pinned(shape, label_type(recipe.label_values()))
        self.flags = cuda.pinned((windows,), np.int32)
        self.too_large = cuda.pinned((1,), np.int32)
        self.counts = cuda.pinned((len(recipe.manifest.channels), 2), np.int64)
        self.probabilities: Array | None = None
        self.arrived = cuda.Event()

    def room_for_probabilities(self) -> Array:
        """Memory for float32 (K, D, H, W), allocated at the first request."""
        if self.probabilities is None:
            self.probabilities = self._cuda.pinned(self._maps, np.float32)
        return self.probabilities


class Workspace:
    """The arrays of `layout` on the device, and all else that volumes of one shape have in common.

    `workspace[name]` is an array's address. Values that never change are uploaded here. Two slots take
    results, so that those of one volume are read while the next one's arrive.

    uploaded, consumed: events of the volume's arrival in "upload", and of its last use there. labelled, read:
    of the results, and of their last use on the device. graphs: {windows in a batch: its CUDA graph, or None
    where it has run but is not captured}.
    """

    def __init__(
        self,
        cuda: Device,
        kernels: VolumeKernels,
        recipe: Recipe,
        shape: tuple[int, ...],
        batch_size: int,
    ):
        self.shape, self.batch_size = shape, batch_size
        self.starts = recipe.starts(shape)
        self.graphs: dict[int, Graph | None] = {}
        self._layout = layout(recipe, kernels, shape, batch_size)
        self._memory = cuda.DeviceMemory(self._layout.total)
        self.source = cuda.pinned((len(recipe.manifest.channels), *shape), np.float32)
        self._slots = [Slot(cuda, recipe, shape, len(self.starts)) for _ in range(2)]
        self.uploaded, self.consumed, self.labelled, self.read = (cuda.Event() for _ in range(4))
        padding = np.maximum(0, np.subtract(recipe.manifest.window, shape)) // 2
        constants = {
            "weights": recipe.weights(),
            "starts": np.array(self.starts, np.int64) - padding,
            "values": np.array(recipe.label_values(), np.int32),
        }
        stream = cuda.Stream()
        for name, array in constants.items():
            stream.upload(array, self[name])
        stream.synchronize()

    def __getitem__(self, name: str) -> int:
        return self._memory.address + self._layout.offsets[name]

    def bytes_of(self, name: str) -> int:
        return self._layout.sizes[name]

    def next_slot(self) -> Slot:
        self._slots.reverse()
        return self._slots[0]


def _product(sides: Sequence[int]) -> int:
    return int(np.prod(sides, dtype=np.int64))

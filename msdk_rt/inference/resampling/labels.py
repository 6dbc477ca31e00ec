"""Logits at another shape, straight to labels or to probabilities."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from msdk_rt.backends.resampling_kernels import CLIP_NONE, resampling_kernels, resampling_of
from msdk_rt.errors import InputError
from msdk_rt.inference.arrays import Array, Floats
from msdk_rt.inference.labels import label_type, probabilities_of
from msdk_rt.inference.planes import plane_blocks
from msdk_rt.inference.resampling.plan import plan_of
from msdk_rt.inference.resampling.volumes import before_last_axis, resampled

SPLINE = 3  # order
STEP = 8  # planes of logits


def resample_to_labels(
    logits: Floats,
    shape: Sequence[int],
    values: Sequence[int],
    activation: str,
    *,
    order: int = 1,
    separate_axis: int | None = None,
    order_z: int = 0,
    half: bool = False,
    threads: int | None = None,
) -> Array:
    """Voxel values of shape `shape`, uint8 or, for values above 255, uint16, of logits (K, D, H, W) float32.

    The same labels as label_voxels gives of resample(logits, shape, ...), but resampled logits exist for a
    few rows at a time only. Order 3 works in a copy of the logits. half: resampled logits are rounded to
    float16 first, as where nnU-Net keeps them in that type. Raises as resample does.
    """
    plan = plan_of(logits, shape, order, separate_axis, order_z, threads)
    _check_values(values, logits)
    volume, last = before_last_axis(logits, plan)
    labels = np.empty(plan.front(plan.shape), label_type(values))
    resampling = resampling_of(volume, labels.shape, last.orders(), last.clip(), half, plan.threads)
    resampling_kernels().to_labels(resampling, np.array(values, np.int32), activation == "sigmoid", labels)
    return np.ascontiguousarray(np.moveaxis(labels, 0, plan.separate_axis or 0))


class LabelsByPlanes:
    """Fills labels (D, H, W), uint8 or uint16, from logits that come a few planes at a time.

    shape: (D, H, W) of all logits. values: one for each channel. order: 0 or 1. separate_axis: None or 0.
    half: resampled logits are rounded to float16. The labels are those of resample_to_labels of all logits at
    once. Raises as that does.
    """

    def __init__(
        self,
        shape: Sequence[int],
        labels: Array,
        values: Sequence[int],
        activation: str,
        *,
        order: int = 1,
        separate_axis: int | None = None,
        order_z: int = 0,
        half: bool = False,
        threads: int | None = None,
    ):
        self._plan = plan_of(
            np.empty((1, *shape), np.float32), labels.shape, order, separate_axis, order_z, threads
        )
        if not by_planes(order, separate_axis, order_z):
            raise InputError("planes need order 0 or 1, and no separate axis but 0: give all logits at once")
        self._depth, self._labels, self._half = int(shape[0]), labels, half
        self._values, self._sigmoid = np.array(values, np.int32), activation == "sigmoid"
        places = (np.arange(len(labels)) + 0.5) * (self._depth / len(labels)) - 0.5
        self._needed = np.floor(np.maximum(places, 0)) + 1  # plane of logits, by plane of labels
        self._done = 0

    def take(self, first: int, planes: Floats) -> None:
        """planes: logits (K, n, H, W) float32, of which planes[:, 0] is plane `first` of all; after the first
        call it is the last plane of the call before. Each plane is looked at before this returns.
        """
        _check_values(self._values, planes)
        last = first + planes.shape[1] - 1
        for begin in range(first, max(last, first + 1), STEP):  # copied, so a few at a time
            end = min(begin + STEP, last)
            self._take(begin, np.ascontiguousarray(planes[:, begin - first : end - first + 1]))

    def _take(self, first: int, planes: Floats) -> None:
        done, ready = self._done, self._ready(first + planes.shape[1] - 1)
        if done == ready:
            return
        labels = np.empty((ready - done, *self._labels.shape[1:]), self._labels.dtype)
        part = (self._depth, len(self._labels), first, done)
        orders, threads = self._plan.orders(), self._plan.threads
        resampling = resampling_of(planes, labels.shape, orders, CLIP_NONE, self._half, threads, part)
        resampling_kernels().to_labels(resampling, self._values, self._sigmoid, labels)
        self._labels[done:ready] = labels
        self._done = ready

    def _ready(self, last: int) -> int:
        """How many planes of labels need no plane of logits after `last`."""
        if last == self._depth - 1:
            return len(self._labels)
        return int(np.searchsorted(self._needed, last, "right"))


def _check_values(values: Sequence[int] | Array, logits: Floats) -> None:
    """Raise InputError unless there is a voxel value for each channel."""
    if len(values) != len(logits):
        raise InputError(f"got {len(values)} voxel values for {len(logits)} channels, expected one for each")


def by_planes(order: int, separate_axis: int | None, order_z: int) -> bool:
    """Whether LabelsByPlanes resamples so."""
    return order < SPLINE and order_z < SPLINE and separate_axis in (None, 0)


def resample_to_probabilities(
    logits: Floats,
    shape: Sequence[int],
    activation: str,
    *,
    order: int = 1,
    separate_axis: int | None = None,
    order_z: int = 0,
    half: bool = False,
    threads: int | None = None,
) -> Floats:
    """Probabilities (K, *shape) float32: the softmax over channels, or the sigmoid of each ("sigmoid").

    Otherwise as resample_to_labels.
    """
    plan = plan_of(logits, shape, order, separate_axis, order_z, threads)
    result = resampled(logits, plan, half)

    def activate(planes: slice) -> None:
        probabilities_of(result[:, planes], activation)

    with ThreadPoolExecutor(plan.threads) as pool:
        for _ in pool.map(activate, plane_blocks(plan.shape[0], result[:, 0].size)):
            pass
    return result

"""Logits at another shape, straight to labels or to probabilities."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from msdk_rt.backends.resampling_kernels import resampling_kernels, resampling_of
from msdk_rt.errors import InputError
from msdk_rt.inference.arrays import Array, Floats
from msdk_rt.inference.labels import probabilities_of
from msdk_rt.inference.planes import plane_blocks
from msdk_rt.inference.resampling.plan import plan_of
from msdk_rt.inference.resampling.volumes import before_last_axis, resampled


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
    if len(values) != len(logits):
        raise InputError(f"got {len(values)} voxel values for {len(logits)} channels, expected one for each")
    volume, last = before_last_axis(logits, plan)
    labels = np.empty(plan.front(plan.shape), np.uint8 if max(values) <= 255 else np.uint16)
    resampling = resampling_of(volume, labels.shape, last.orders(), last.clip(), half, plan.threads)
    resampling_kernels().to_labels(resampling, np.array(values, np.int32), activation == "sigmoid", labels)
    return np.ascontiguousarray(np.moveaxis(labels, 0, plan.separate_axis or 0))


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

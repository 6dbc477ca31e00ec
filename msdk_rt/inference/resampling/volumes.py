"""Volumes to a new shape."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from msdk_rt.backends.resampling_kernels import CLIP_PLANE, resampling_kernels, resampling_of
from msdk_rt.inference.arrays import Floats
from msdk_rt.inference.resampling.plan import Plan, plan_of


def resample(
    data: Floats,
    shape: Sequence[int],
    *,
    order: int,
    separate_axis: int | None = None,
    order_z: int = 0,
    threads: int | None = None,
) -> Floats:
    """data (C, D, H, W) float32 as (C, *shape) float32, equal to nnU-Net v2's resample_data_or_seg.

    Splines of `order` 0, 1 or 3 with half-pixel centres and repeated edges; order 3 is clipped to the range
    of each channel. With separate_axis (see separate_z) each plane across that axis is resized by itself,
    order 3 clipped to the range of the plane, then the planes are interpolated by order_z. threads: one per
    physical core by default. Where the shape is the same already, `data` itself is returned.

    Values must be finite: order 3 raises BackendError for NaN or infinities. Raises InputError for other
    types, shapes and orders.
    """
    plan = plan_of(data, shape, order, separate_axis, order_z, threads)
    return data if data.shape[1:] == plan.shape else resampled(data, plan, half=False)


def resampled(data: Floats, plan: Plan, half: bool) -> Floats:
    """half: rounded to float16, as float32."""
    axis = 1 + (plan.separate_axis or 0)
    volume, last = before_last_axis(data, plan)
    out = np.empty((len(data), *plan.front(plan.shape)), np.float32)
    orders, clip = last.orders(), last.clip()
    resampling = resampling_of(volume, out.shape[1:], orders, clip, half, plan.threads)
    resampling_kernels().resample(resampling, out)
    return np.ascontiguousarray(np.moveaxis(out, 1, axis))


def before_last_axis(data: Floats, plan: Plan) -> tuple[Floats, Plan]:
    """The data with its separate axis in front, and what is left to be done with it.

    Clipped planes that are interpolated need a step of their own: the planes are resized here.
    """
    volume = np.ascontiguousarray(np.moveaxis(data, 1 + (plan.separate_axis or 0), 1))
    depth = plan.front(plan.shape)[0]
    if plan.clip() != CLIP_PLANE or plan.order_z == 0 or depth == volume.shape[1]:
        return volume, replace(plan, order_z=0) if depth == volume.shape[1] else plan
    planes = np.empty((len(volume), volume.shape[1], *plan.front(plan.shape)[1:]), np.float32)
    resampling = resampling_of(volume, planes.shape[1:], (0, 3, 3), CLIP_PLANE, False, plan.threads)
    resampling_kernels().resample(resampling, planes)
    return planes, replace(plan, order=0)

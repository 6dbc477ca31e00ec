"""A call of the resampling library: checked arguments, the separate axis in front."""

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral

import numpy as np

from msdk_rt.backends.processors import threads_for
from msdk_rt.backends.resampling_kernels import CLIP_CHANNEL, CLIP_NONE, CLIP_PLANE
from msdk_rt.errors import InputError, shown
from msdk_rt.inference.arrays import Floats

ORDERS = (0, 1, 3)
LONGEST = 2**31 - 1  # voxels along an axis
Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Plan:
    """How (C, D, H, W) becomes (C, *shape).

    order: of the spline, in all axes but separate_axis, whose order is order_z. threads: at most.
    """

    shape: Shape
    order: int
    separate_axis: int | None
    order_z: int
    threads: int

    def orders(self) -> tuple[int, int, int]:
        """Of (D, H, W), the separate axis moved to the front."""
        return (self.order if self.separate_axis is None else self.order_z, self.order, self.order)

    def clip(self) -> int:
        """scikit-image clips what it resizes to the range it had: the volume, or each plane."""
        if self.order < 3:
            return CLIP_NONE
        return CLIP_CHANNEL if self.separate_axis is None else CLIP_PLANE

    def front(self, sides: Sequence[int]) -> Shape:
        """(D, H, W) with the separate axis moved to the front."""
        first = self.separate_axis or 0
        rest = [side for axis, side in enumerate(sides) if axis != first]
        return int(sides[first]), int(rest[0]), int(rest[1])


def plan_of(
    data: Floats,
    shape: Sequence[int],
    order: int,
    separate_axis: int | None,
    order_z: int,
    threads: int | None,
) -> Plan:
    """Raises InputError for data that is not (C, D, H, W) float32, and for settings out of range."""
    if data.dtype != np.float32 or data.ndim != 4 or 0 in data.shape:
        raise InputError(
            f"got {data.dtype} of shape {data.shape}, expected float32 (C, D, H, W) with at least one voxel"
        )
    sides = tuple(int(side) for side in shape)
    if len(sides) != 3 or not all(1 <= side <= LONGEST for side in sides):
        raise InputError(f"the new shape must be (D, H, W), each at least 1, got {shown(shape)}")
    for name, value in {"order": order, "order_z": order_z}.items():
        if isinstance(value, bool) or not isinstance(value, Integral) or value not in ORDERS:
            raise InputError(
                f"{name} must be 0 (nearest), 1 (linear) or 3 (cubic spline), got {shown(value)}: "
                "other orders are not built"
            )
    if separate_axis not in (None, 0, 1, 2):
        raise InputError(f"separate_axis must be 0, 1, 2 of (D, H, W), or None, got {shown(separate_axis)}")
    axis = None if separate_axis is None else int(separate_axis)
    return Plan((sides[0], sides[1], sides[2]), int(order), axis, int(order_z), threads_for(threads))

"""What nnU-Net makes of spacings: the new shape, and the axis that is resampled apart from the others."""

from collections.abc import Sequence

from msdk_rt.errors import InputError, shown

ANISOTROPY = 3  # nnU-Net's ANISO_THRESHOLD


def separate_z(spacing: Sequence[float], new_spacing: Sequence[float]) -> int | None:
    """The axis that nnU-Net resamples apart from the plane of the two others; None for all three at once.

    spacing, new_spacing: mm along (D, H, W), of the data and of what it becomes. The first of them whose
    largest entry is more than 3 times its smallest decides: its largest axis, if there is just one. Raises
    InputError.
    """
    for values in (_spacing(spacing), _spacing(new_spacing)):
        largest = max(values)
        if largest / min(values) > ANISOTROPY:
            axes = [axis for axis, value in enumerate(values) if largest / value == 1]
            return axes[0] if len(axes) == 1 else None
    return None


def resampled_shape(
    shape: Sequence[int], spacing: Sequence[float], new_spacing: Sequence[float]
) -> tuple[int, int, int]:
    """nnU-Net's shape of a volume (D, H, W) at a new spacing in mm: halves round to even.

    Raises InputError.
    """
    old, new = _spacing(spacing), _spacing(new_spacing)
    depth, height, width = (
        round(before / after * side) for before, after, side in zip(old, new, shape, strict=True)
    )
    if min(depth, height, width) < 1:
        raise InputError(
            f"a volume of shape {tuple(shape)} with spacing {shown(old)} would have the shape "
            f"{(depth, height, width)} at spacing {shown(new)}, expected at least one voxel along each axis"
        )
    return depth, height, width


def _spacing(values: Sequence[float]) -> tuple[float, ...]:
    spacing = tuple(float(value) for value in values)
    if len(spacing) != 3 or not all(0 < value < float("inf") for value in spacing):
        raise InputError(f"a spacing is three lengths above 0 in mm, got {shown(values)}")
    return spacing

"""Frames sorted into a volume, or a sentence about why they are none."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from msdk_rt.errors import InputError
from msdk_rt.imaging.dicom.frames import Frame
from msdk_rt.inference.arrays import Array

SAME_DIRECTION = 1e-3  # of direction cosines, which scanners round
SAME_PLACE = 0.01  # of the step between slices
SURE, MOST = 0.01, 0.1  # of a step: slices further off a regular grid are a doubt, refused
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
NO_VOLUME = "it is no volume, choose another series"
RESAMPLE = "resample it first, as dcm2niix does"


@dataclass(frozen=True, eq=False)
class Stack:
    """frames: in order along their common normal. affine: voxel (X, Y, Z) to millimetres of RAS.

    X runs along rows, Y along columns, Z along the normal. doubts: sentences about what may not be meant.
    """

    frames: tuple[Frame, ...]
    affine: Array
    doubts: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, int, int]:
        rows, columns = self.frames[0].size
        return columns, rows, len(self.frames)


def stack(frames: Sequence[Frame], what: str) -> Stack:
    """The volume that frames make. what: names the series in a message. Raises InputError."""
    _check_alike(frames, what)
    normal = frames[0].normal
    heights = np.array([frame.position @ normal for frame in frames])
    order = np.argsort(heights, kind="stable")
    heights, frames = heights[order], [frames[index] for index in order]
    first, last = frames[0], frames[-1]
    if len(frames) == 1:
        if first.depth <= 0:
            raise InputError(f"{what} is one slice that does not say how thick it is: give the whole series")
        return _stack(frames, normal * first.depth, (f"{what} is one slice: was the whole series meant?",))
    doubts = _check_heights(heights, what)
    _check_in_line(frames, heights, what)
    return _stack(frames, (last.position - first.position) / (len(frames) - 1), doubts)


def _stack(frames: Sequence[Frame], step: Array, doubts: tuple[str, ...]) -> Stack:
    first = frames[0]
    affine = np.eye(4)
    affine[:3, 0] = first.along_row * first.sides[1]
    affine[:3, 1] = first.along_column * first.sides[0]
    affine[:3, 2] = step
    affine[:3, 3] = first.position
    return Stack(tuple(frames), LPS_TO_RAS @ affine, doubts)


def _check_alike(frames: Sequence[Frame], what: str) -> None:
    first = frames[0]
    sizes = sorted({frame.size for frame in frames})
    if len(sizes) > 1:
        listed = ", ".join(f"{columns} x {rows}" for rows, columns in sizes[:4])
        raise InputError(f"{what} holds images of {len(sizes)} sizes ({listed}): {NO_VOLUME}")
    turned = [
        max(np.abs(f.along_row - first.along_row).max(), np.abs(f.along_column - first.along_column).max())
        for f in frames
    ]
    if max(turned) > SAME_DIRECTION:
        others = sum(distance > SAME_DIRECTION for distance in turned)
        raise InputError(
            f"{what} mixes orientations ({others} of {len(frames)} slices are turned against the first): it "
            "is a localiser or several stacks, choose another series"
        )
    if max(abs(f.sides[axis] - first.sides[axis]) for f in frames for axis in (0, 1)) > 1e-3 * min(
        first.sides
    ):
        raise InputError(f"{what} mixes pixel spacings: {NO_VOLUME}")


def _check_heights(heights: Array, what: str) -> tuple[str, ...]:
    """Sentences about slices that are not quite evenly spaced. Raises InputError for worse."""
    gaps = np.diff(heights)
    span = heights[-1] - heights[0]
    if span <= 0:
        raise InputError(f"{what} has {len(heights)} images at one place: {NO_VOLUME}")
    step = float(np.median(gaps[gaps > SAME_PLACE * span / len(gaps)]))
    repeats = np.diff(np.flatnonzero(np.r_[True, gaps > SAME_PLACE * step, True]))
    if repeats.max() > 1:
        if repeats.min() == repeats.max():
            raise InputError(
                f"{what} holds {repeats[0]} volumes of {len(repeats)} slices at the same places (times, "
                "echoes, b-values): give a series of one"
            )
        raise InputError(
            f"{what} has {int((repeats > 1).sum())} place(s) with more than one slice, and which is meant "
            "cannot be told: remove the others"
        )
    lost = np.rint(gaps / step).astype(int) - 1
    whole = np.abs(gaps / step - (lost + 1)) <= MOST * (lost + 1)
    if lost.max() > 0 and whole.all() and (lost == 0).sum() > (lost > 0).sum():
        place = int(np.argmax(lost > 0))
        raise InputError(
            f"{what} lacks {int(lost.sum())} slice(s): between slices {place + 1} and {place + 2} of "
            f"{len(heights)} lie {gaps[place]:.3g} mm, elsewhere {step:.3g} mm. Export the series again"
        )
    even = span / len(gaps)
    off = float(np.abs(heights - heights[0] - even * np.arange(len(heights))).max()) / even
    uneven = f"{gaps.min():.4g} to {gaps.max():.4g}"
    if off > MOST:
        raise InputError(f"{what} has slices {uneven} mm apart, expected even steps: {RESAMPLE}")
    if off > SURE:
        return (f"{what} has slices {uneven} mm apart: they were taken for {even:.4g} mm",)
    return ()


def _check_in_line(frames: Sequence[Frame], heights: Array, what: str) -> None:
    """Raise InputError for slices that are shifted in their planes: a tilted gantry, or a damaged series."""
    normal = frames[0].normal
    positions = np.stack([frame.position for frame in frames])
    aside = positions - positions[0] - np.outer(heights - heights[0], normal)
    if np.linalg.norm(aside, axis=1).max() <= MOST * min(frames[0].sides):
        return
    slant = aside[-1] / (heights[-1] - heights[0])
    left = np.linalg.norm(aside - np.outer(heights - heights[0], slant), axis=1).max()
    if left <= MOST * min(frames[0].sides):
        angle = np.degrees(np.arctan(np.linalg.norm(slant)))
        raise InputError(f"{what} was taken with a gantry tilted by {angle:.1f} degrees: {RESAMPLE}")
    raise InputError(f"{what} has slices that are shifted against one another: {NO_VOLUME}")

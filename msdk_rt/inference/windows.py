"""The window plan and its blending: MONAI's sliding_window_inference, in NumPy.

Window placement, zero padding of small volumes, the Gaussian and its floor follow MONAI 1.5
(monai/inferers/utils.py, compute_importance_map in monai/data/utils.py): results agree to float32 rounding.
"""

import bisect
import itertools
import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import numpy as np

from msdk_rt.errors import BackendError
from msdk_rt.inference.arrays import Array, Floats
from msdk_rt.inference.planes import plane_blocks
from msdk_rt.inference.stages import Stages
from msdk_rt.inference.sums import Sums, SumsInFloat32

Start = tuple[int, int, int]
Take = Callable[[int, Floats], None]
T = TypeVar("T")
LEAST_WEIGHT = 1e-3
SPARE_PLANES = 8
SPARE_NUMBERS = 1 << 15  # of small planes, so many that the cost of a call does not count


def axis_starts(size: int, window: int, overlap: float) -> list[int]:
    """First voxel of every window along one axis of `size` >= `window` voxels; the last window ends flush."""
    stride = window if size == window else max(1, int(window * (1 - overlap)))
    return [*range(0, size - window, stride), size - window]


def plan_windows(shape: Sequence[int], window: Sequence[int], overlap: float) -> list[Start]:
    """First voxels of all windows over a volume (D, H, W), taken as padded to at least one window."""
    padded = np.maximum(shape, window).tolist()
    axes = [axis_starts(size, side, overlap) for size, side in zip(padded, window, strict=True)]
    d, h, w = axes
    return list(itertools.product(d, h, w))


def importance(window: Sequence[int], mode: str, sigma_scale: float) -> Floats:
    """Weight of each voxel of a window in the blend, float32 (D, H, W).

    mode: "constant", or "gaussian" with standard deviation sigma_scale * side along each axis, centred, and
    raised to at least LEAST_WEIGHT. That floor is why the map is not a product of three vectors.
    """
    if mode == "constant":
        return np.ones(window, np.float32)
    d, h, w = (_gaussian(side, sigma_scale * side) for side in window)
    weights: Floats = d[:, None, None] * h[:, None] * w
    np.maximum(weights, np.float32(LEAST_WEIGHT), out=weights)
    return weights


def blend_windows(
    volume: Array,
    window: Sequence[int],
    predict: Callable[[Array], Array],
    starts: Sequence[Start],
    weights: Array,
    batch_size: int = 1,
    watch: Callable[[Iterable[Any]], Iterable[Any]] = iter,
    stages: Stages | None = None,
    sums: Sums | None = None,
    folds: int = 1,
) -> Floats:
    """Blended logits (K, D, H, W) float32 of a volume (C, D, H, W) float32, all at once.

    Arguments and errors are those of blend_planes. One fold is added up where it is given back; of several
    only the planes that windows still reach are held beside it.
    """
    blended: list[Floats] = []

    def take(first: int, planes: Floats) -> None:
        if folds == 1:
            blended.append(planes)
            return
        if not blended:
            blended.append(np.empty((len(planes), *volume.shape[1:]), np.float32))
        blended[0][:, first : first + planes.shape[1]] = planes

    spare = max(volume.shape[1], window[0]) if folds == 1 else None
    arguments = volume, window, predict, starts, weights, take, batch_size, watch, stages, sums, folds
    blend_planes(*arguments, spare=spare)
    (total,) = blended
    return total


def blend_planes(
    volume: Array,
    window: Sequence[int],
    predict: Callable[[Array], Array],
    starts: Sequence[Start],
    weights: Array,
    take: Take,
    batch_size: int = 1,
    watch: Callable[[Iterable[Any]], Iterable[Any]] = iter,
    stages: Stages | None = None,
    sums: Sums | None = None,
    folds: int = 1,
    spare: int | None = None,
) -> None:
    """Blend the logits of windows over a volume (C, D, H, W) float32, and give planes that no window still
    reaches to `take`, from the first to the last.

    predict: windows (B, C, *window) -> float32 logits (B, folds * K, *window), fold after fold; B is
    batch_size, or less in the last batch. starts: from plan_windows, ordered by D. weights: from importance.
    take(first, planes): blended logits (K, n, H, W) float32, a view that the next window changes;
    planes[:, 0] is plane `first` of the volume, and after the first call it is the last plane of the call
    before. watch: wraps the list of batches (each a list of starts) for iteration, e.g. to show progress.
    stages: takes the times of "gather", "infer" and "blend". sums: how windows are added up; default: in
    float32. folds: networks, averaged once their windows are added up. spare: planes to hold beyond a
    window's, which are given at once; default: SPARE_PLANES, more where they are small.

    Held in memory: folds * K float32 a voxel of as many planes as a window has and `spare` more, one batch
    of windows and its logits. The work is memory traffic, so each step is done on a few planes that stay in
    the cache. Raises BackendError when the network returns NaN or Inf, logits of another shape than its
    windows, or logits that are too large for the sums.
    """
    stages = stages or Stages()
    padded, inside = _pad(volume, window)
    band: _Band | None = None
    for batch in watch(batches_of(starts, batch_size)):
        boxes = [_box(start, window) for start in batch]
        with stages("gather"):
            windows = np.stack([padded[box] for box in boxes])
        with stages("infer"):
            logits = predict(windows)
        _check_shape(logits, (len(batch), *window), folds)
        if band is None:
            adding = sums or SumsInFloat32()
            band = _Band(logits.shape[1], padded.shape[1:], starts, weights, spare, adding, folds)
        added = []
        for start, contribution in zip(batch, logits, strict=True):
            if band.is_full_for(start):
                _give(band, start[0], inside, take, stages)
                with stages("blend"):
                    band.move()
            with stages("blend"):
                added.append(band.add(start, contribution))
        if not all(added):
            raise not_finite_logits(itertools.compress(batch, np.logical_not(added)))
    if band is None:
        raise ValueError("no window to infer: starts is empty")
    _give(band, padded.shape[1], inside, take, stages)


def _give(band: "_Band", end: int, inside: tuple[slice, ...], take: Take, stages: Stages) -> None:
    """Give the planes before `end` that were not given yet; `inside` is the volume in its padding."""
    with stages("blend"):
        first, planes = band.finish(end)
    depth, height, width = inside
    low, high = max(first, depth.start), min(end, depth.stop)
    take(low - depth.start, planes[:, low - first : high - first, height, width])


class _Band:
    """Sums of weighted logits in the planes that windows still reach.

    total: (folds * K, planes, H, W) of which the first is plane `first` of the padded volume (D, H, W).
    Planes before `finished` are divided by the sum of their weights, and the first K channels are the folds'
    mean.
    """

    def __init__(
        self,
        classes: int,
        shape: Sequence[int],
        starts: Sequence[Start],
        weights: Array,
        spare: int | None,
        sums: Sums,
        folds: int,
    ):
        depth, height, width = shape
        self._folds, self._labels = folds, classes // folds
        self._starts, self._weights, self._sums = starts, weights, sums
        if spare is None:
            spare = max(SPARE_PLANES, SPARE_NUMBERS // (classes * height * width))
        self._total = np.zeros((classes, min(depth, len(weights) + spare), height, width), np.float32)
        self._first = self._finished = 0

    def is_full_for(self, start: Start) -> bool:
        """Whether a window reaches beyond the planes that are held."""
        return start[0] + len(self._weights) > self._first + self._total.shape[1]

    def add(self, start: Start, logits: Array) -> bool:
        """Add a window's logits (K, *window), weighted; False at NaN or Inf, which leave it half done."""
        d, h, w = start
        return self._sums.add(self._total, (d - self._first, h, w), logits, self._weights)

    def finish(self, end: int) -> tuple[int, Array]:
        """(first, planes): the planes before `end` that were not finished yet, and the one before them."""
        fresh = self._total[:, self._finished - self._first : end - self._first]
        _finish(fresh, self._finished, self._starts, self._weights, self._sums, self._folds)
        first = max(self._finished - 1, 0)
        self._finished = end
        return first, self._total[: self._labels, first - self._first : end - self._first]

    def move(self) -> None:
        """Let go of the planes that were finished, but for the last."""
        gone = self._finished - 1 - self._first
        for channel in self._total:  # NumPy copies what overlaps: one channel at a time
            channel[:-gone] = channel[gone:]
            channel[-gone:] = 0
        self._first += gone


def _box(start: Start, window: Sequence[int]) -> tuple[slice, ...]:
    """Slices of a window in (C, D, H, W)."""
    return slice(None), *(slice(s, s + side) for s, side in zip(start, window, strict=True))


def _gaussian(side: int, sigma: float) -> Floats:
    offset = np.arange(side, dtype=np.float32) - np.float32((side - 1) / 2)
    weights: Floats = np.exp(np.square(offset) / np.float32(-2 * sigma**2))
    return weights


def _pad(volume: Array, window: Sequence[int]) -> tuple[Array, tuple[slice, ...]]:
    """The volume, zero-padded evenly where it is smaller than the window, and where its voxels then are."""
    missing = [max(0, side - size) for size, side in zip(volume.shape[1:], window, strict=True)]
    inside = tuple(slice(m // 2, m // 2 + size) for m, size in zip(missing, volume.shape[1:], strict=True))
    if any(missing):
        volume = np.pad(volume, [(0, 0), *((m // 2, m - m // 2) for m in missing)])
    return volume, inside


def batches_of(windows: Sequence[T], batch_size: int) -> list[Sequence[T]]:
    """Runs of batch_size windows, of fewer at the end."""
    return [windows[first : first + batch_size] for first in range(0, len(windows), batch_size)]


def not_finite_logits(starts: Iterable[Start]) -> BackendError:
    """Make the error for windows, given by their starts, in which the network returned NaN or Inf."""
    return BackendError(
        f"the network returned NaN or Inf in the window(s) starting at {', '.join(map(str, starts))}: the "
        "weights or the input intensities are out of range"
    )


def _check_shape(logits: Array, expected: tuple[int, ...], folds: int) -> None:
    if logits.ndim != 5 or (len(logits), *logits.shape[2:]) != expected or logits.shape[1] % folds:
        batched, *window = expected
        planes = "K" if folds == 1 else f"{folds} K"
        raise BackendError(
            f"the network returned logits of shape {logits.shape}, expected ({batched}, {planes}, "
            f"{', '.join(map(str, window))}): the graph is damaged or foreign, export the model again"
        )


def _index(starts: Sequence[Start], plane: int) -> int:
    """Index of the first window that starts at `plane` or after it."""
    return bisect.bisect_left(starts, plane, key=operator.itemgetter(0))


def _finish(
    total: Array, first: int, starts: Sequence[Start], weights: Array, sums: Sums, folds: int
) -> None:
    """Divide by the sums of weights and average the folds.

    total: (folds * K, planes, H, W), from plane `first` of the volume on. starts: ordered by D.
    """
    depth, height, width = weights.shape
    for planes in plane_blocks(total.shape[1], total[0, 0].size):
        block = total[:, planes]
        low, high = first + planes.start, first + planes.stop
        weight_sum = np.zeros(block.shape[1:], np.float32)
        for d, h, w in starts[_index(starts, low - depth + 1) : _index(starts, high)]:
            begin, end = max(d, low), min(d + depth, high)
            covered = weight_sum[begin - low : end - low, h : h + height, w : w + width]
            sums.add_weights(covered, weights[begin - d : end - d])
        sums.divide(block, weight_sum)
        if folds > 1:
            sums.average(block, folds)

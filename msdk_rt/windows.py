"""The window plan and its blending: MONAI's sliding_window_inference, in NumPy.

Window placement, zero padding of small volumes, the Gaussian and its floor follow MONAI 1.5
(monai/inferers/utils.py, compute_importance_map in monai/data/utils.py): results agree to float32 rounding.
"""

import itertools
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from msdk_rt.errors import BackendError
from msdk_rt.stages import Stages

Start = tuple[int, int, int]
LEAST_WEIGHT = 1e-3


def axis_starts(size: int, window: int, overlap: float) -> list[int]:
    """First voxel of every window along one axis of `size` >= `window` voxels; the last window ends flush."""
    stride = window if size == window else max(1, int(window * (1 - overlap)))
    return [*range(0, size - window, stride), size - window]


def plan_windows(shape: Sequence[int], window: Sequence[int], overlap: float) -> list[Start]:
    """First voxels of all windows over a volume (D, H, W), taken as padded to at least one window."""
    padded = np.maximum(shape, window).tolist()
    axes = (axis_starts(size, side, overlap) for size, side in zip(padded, window, strict=True))
    return list(itertools.product(*axes))


def importance(window: Sequence[int], mode: str, sigma_scale: float) -> np.ndarray:
    """Weight of each voxel of a window in the blend, float32 (D, H, W).

    mode: "constant", or "gaussian" with standard deviation sigma_scale * side along each axis, centred, and
    raised to at least LEAST_WEIGHT. That floor is why the map is not a product of three vectors.
    """
    if mode == "constant":
        return np.ones(window, np.float32)
    d, h, w = (_gaussian(side, sigma_scale * side) for side in window)
    weights = d[:, None, None] * h[:, None] * w
    return np.maximum(weights, np.float32(LEAST_WEIGHT), out=weights)


def blend_windows(
    volume: np.ndarray,
    window: Sequence[int],
    predict: Callable[[np.ndarray], np.ndarray],
    starts: Sequence[Start],
    weights: np.ndarray,
    batch_size: int = 1,
    watch: Callable[[Iterable], Iterable] = iter,
    stages: Stages | None = None,
) -> np.ndarray:
    """Blended logits (K, D, H, W) float32 of a volume (C, D, H, W) float32.

    predict: windows (B, C, *window) -> float32 logits (B, K, *window), a new array each time; B is
    batch_size, or less in the last batch. starts: from plan_windows. weights: from importance. watch: wraps
    the list of batches (each a list of starts) for iteration, e.g. to show progress. stages: takes the times
    of "gather", "infer" and "blend".

    Held in memory: one accumulator of K and one weight sum of 1 float32 a voxel, and one batch of windows.
    Raises BackendError when the network returns NaN or Inf, or logits of another shape than its windows.
    """
    stages = stages or Stages()
    padded, inside = _pad(volume, window)
    total, weight_sum = None, np.zeros(padded.shape[1:], np.float32)
    for batch in watch(batches_of(starts, batch_size)):
        boxes = [tuple(slice(s, s + side) for s, side in zip(start, window, strict=True)) for start in batch]
        with stages("gather"):
            windows = np.stack([padded[(slice(None), *box)] for box in boxes])
        with stages("infer"):
            logits = predict(windows)
        with stages("blend"):
            _check_logits(logits, (len(batch), *window), batch)
            if total is None:
                total = np.zeros((logits.shape[1], *padded.shape[1:]), np.float32)
            logits *= weights
            for box, contribution in zip(boxes, logits, strict=True):
                total[(slice(None), *box)] += contribution
                weight_sum[box] += weights
    with stages("blend"):
        total /= weight_sum
    return total[(slice(None), *inside)]


def _gaussian(side: int, sigma: float) -> np.ndarray:
    offset = np.arange(side, dtype=np.float32) - np.float32((side - 1) / 2)
    return np.exp(np.square(offset) / np.float32(-2 * sigma**2))


def _pad(volume: np.ndarray, window: Sequence[int]) -> tuple[np.ndarray, tuple[slice, ...]]:
    """The volume, zero-padded evenly where it is smaller than the window, and where its voxels then are."""
    missing = [max(0, side - size) for size, side in zip(volume.shape[1:], window, strict=True)]
    inside = tuple(slice(m // 2, m // 2 + size) for m, size in zip(missing, volume.shape[1:], strict=True))
    if any(missing):
        volume = np.pad(volume, [(0, 0), *((m // 2, m - m // 2) for m in missing)])
    return volume, inside


def batches_of(windows: Sequence, batch_size: int) -> list[Sequence]:
    """Runs of batch_size windows, of fewer at the end."""
    return [windows[first : first + batch_size] for first in range(0, len(windows), batch_size)]


def not_finite_logits(starts: Iterable[Start]) -> BackendError:
    """What is raised of windows, by their starts, in which the network returned NaN or Inf."""
    return BackendError(
        f"the network returned NaN or Inf in the window(s) starting at {', '.join(map(str, starts))}: the "
        "weights or the input intensities are out of range"
    )


def _check_logits(logits: np.ndarray, expected: tuple[int, ...], batch: Sequence[Start]) -> None:
    if logits.ndim != 5 or (len(logits), *logits.shape[2:]) != expected:
        batched, *window = expected
        raise BackendError(
            f"the network returned logits of shape {logits.shape}, expected ({batched}, K, "
            f"{', '.join(map(str, window))}): the graph is damaged or foreign, export the model again"
        )
    if not np.isfinite(logits).all():
        finite = [np.isfinite(window).all() for window in logits]
        raise not_finite_logits(start for start, good in zip(batch, finite, strict=True) if not good)

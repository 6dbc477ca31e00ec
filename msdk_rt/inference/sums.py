"""Sums of weighted windows: in float32, or in float16 as nnU-Net 2.8 has them.

nnU-Net's predictor keeps logits and sums of weights in float16 (torch.half): each window's logits are
multiplied by its weights in float32 and added in float32, and each sum is rounded to float16. Where classes
are nearly as likely, that rounding decides. The blended logits of several folds are added up and divided by
their number in the same way.
"""

from typing import Protocol

import numpy as np

from msdk_rt.backends.half_sums_kernels import half_sums_kernels
from msdk_rt.backends.processors import threads_for
from msdk_rt.errors import BackendError
from msdk_rt.inference.arrays import Array, Floats
from msdk_rt.inference.planes import plane_blocks

WHOLE_ROWS = 2  # a volume at most so many windows wide is added to in whole rows


class Sums(Protocol):
    """How windows are added up. total: (K, D, H, W) float32."""

    def add(self, total: Floats, start: tuple[int, int, int], logits: Array, weights: Floats) -> bool:
        """Add weighted logits (K, *window) at `start`; False at NaN or Inf, which leave it half done."""

    def add_weights(self, weight_sum: Floats, weights: Floats) -> None:
        """Add the weights of a window, both (D, H, W)."""

    def divide(self, total: Floats, weight_sum: Floats) -> None:
        """Divide by the sum of weights (D, H, W)."""

    def average(self, total: Floats, folds: int) -> None:
        """The mean of the folds, each of K / folds channels, in the place of the first."""


class SumsInFloat32:
    """Sums as NumPy has them."""

    def add(self, total: Floats, start: tuple[int, int, int], logits: Array, weights: Floats) -> bool:
        """Whole rows, with zeros beside the window, are contiguous in memory: adding twice the numbers is
        faster than adding pieces of rows.
        """
        classes, depth, height, width = logits.shape
        d, h, w = start
        row = total.shape[-1]
        left, right = (0, row) if row <= WHOLE_ROWS * width else (w, w + width)
        blocks = plane_blocks(depth, classes * height * (right - left))
        product = np.zeros((classes, blocks[0].stop, height, right - left), np.float32)
        for planes in blocks:
            block, count = logits[:, planes], planes.stop - planes.start
            if not np.isfinite(block).all():
                return False
            np.multiply(block, weights[planes], out=product[:, :count, :, w - left : w - left + width])
            total[:, d + planes.start : d + planes.stop, h : h + height, left:right] += product[:, :count]
        return True

    def add_weights(self, weight_sum: Floats, weights: Floats) -> None:
        weight_sum += weights

    def divide(self, total: Floats, weight_sum: Floats) -> None:
        total /= weight_sum

    def average(self, total: Floats, folds: int) -> None:
        mean, *others = np.split(total, folds)
        for fold in others:
            mean += fold
        mean /= folds


class SumsInFloat16:
    """nnU-Net's sums. The numbers are float16's, and are kept as float32.

    threads: at most; default: one per physical core. Results are the same for any number. `add`, `divide` and
    `average` raise BackendError for finite logits whose sums are not.
    """

    def __init__(self, threads: int | None = None):
        self._kernels, self._threads = half_sums_kernels(), threads_for(threads)

    def add(self, total: Floats, start: tuple[int, int, int], logits: Array, weights: Floats) -> bool:
        d, h, w = start
        depth, height, width = weights.shape
        window = total[:, d : d + depth, h : h + height, w : w + width]
        values = np.ascontiguousarray(logits, np.float32)
        if self._kernels.add(window, values, np.ascontiguousarray(weights), self._threads):
            return True
        if np.isfinite(values).all():
            raise too_large_logits()
        return False

    def add_weights(self, weight_sum: Floats, weights: Floats) -> None:
        ones = np.ones_like(weights)
        self._kernels.add(weight_sum[None], np.ascontiguousarray(weights)[None], ones, self._threads)

    def divide(self, total: Floats, weight_sum: Floats) -> None:
        if not self._kernels.divide(total, weight_sum, self._threads):
            raise too_large_logits()

    def average(self, total: Floats, folds: int) -> None:
        mean, *others = np.split(total, folds)
        ones = np.ones(mean.shape[1:], np.float32)
        for fold in others:
            if not self._kernels.add(mean, np.ascontiguousarray(fold), ones, self._threads):
                raise too_large_logits()
        self.divide(mean, np.full_like(ones, folds))


def too_large_logits() -> BackendError:
    """Make the error for logits whose sums float16 cannot hold."""
    return BackendError(
        "the network's logits are too large for sums in float16, in which nnU-Net adds up and which ends at "
        "65504: the weights or the input intensities are out of range"
    )


def sums_of(half: bool, threads: int | None) -> Sums:
    """Sums in float16, on at most so many threads, or in float32."""
    return SumsInFloat16(threads) if half else SumsInFloat32()

"""Runs volumes behind a brain mask: the host finds the brain, and the pipeline within sees nothing else."""

import warnings
from collections.abc import Sequence
from typing import NoReturn

import numpy as np

from msdk_rt.artifact.notes import InputWarning
from msdk_rt.errors import InputError
from msdk_rt.inference.arrays import TO_HOST, Floats
from msdk_rt.inference.brain_mask import find_brain
from msdk_rt.inference.device.arrays import DeviceVolume
from msdk_rt.inference.device.workspace import DeviceBytes
from msdk_rt.inference.foreground import Mask
from msdk_rt.inference.pipeline import Labels, Pending, Pipeline, Probabilities, Watch
from msdk_rt.inference.preparation import checked_spacing
from msdk_rt.inference.recipe import Recipe
from msdk_rt.inference.stages import Stages


class MaskedPipeline:
    """Segments the brain in volumes. inner: does all but the mask. recipe: has a brain mask.

    Implements msdk_rt.inference.pipeline.Pipeline.
    """

    def __init__(self, inner: Pipeline, recipe: Recipe):
        assert recipe.manifest.brain_mask is not None
        self._inner, self._brain_mask = inner, recipe.manifest.brain_mask
        self._softmax = recipe.manifest.activation == "softmax"

    def take(self, array: object) -> NoReturn:
        """Raises InputError: the host finds the brain."""
        raise InputError(
            f"got a {type(array).__name__} on a GPU, and the model's brain mask runs on the host: copy it "
            f"there first, {TO_HOST}"
        )

    def memory(self, shape: Sequence[int]) -> DeviceBytes:
        """As the inner pipeline's."""
        return self._inner.memory(shape)

    def start(
        self,
        volume: Floats | DeviceVolume,
        probabilities: bool = False,
        watch: Watch | None = None,
        stages: Stages | None = None,
        spacing: Sequence[float] | None = None,
    ) -> Pending:
        """Find the brain in the first channel of a checked volume (C, D, H, W) float32, and begin with it.

        spacing: an array without one is taken as of 1 mm, with an InputWarning. stages: takes the times of
        "mask" and of the inner pipeline's stages. Raises InputError and BackendError.
        """
        if isinstance(volume, DeviceVolume):
            self.take(volume)
        timed = stages or Stages()
        with timed("mask"):
            mask = find_brain(self._brain_mask, volume[0], _spacing_for_mask(spacing))
            if mask is not None:
                volume = np.where(mask, volume, np.float32(0))
        pending = self._inner.start(volume, probabilities, watch, stages, spacing)
        return pending if mask is None else _Masked(pending, mask, self._softmax)


class _Masked:
    """A masked volume that was started. Implements msdk_rt.inference.pipeline.Pending."""

    def __init__(self, pending: Pending, mask: Mask, softmax: bool):
        self._pending, self._mask, self._softmax = pending, mask, softmax

    def result(self) -> tuple[Labels, Probabilities | None]:
        """As the inner pipeline's. Outside the mask labels are 0, and probabilities the first class for
        softmax, no region for sigmoid.
        """
        labels, maps = self._pending.result()
        assert isinstance(labels, np.ndarray)
        labels[~self._mask] = 0
        if maps is not None:
            assert isinstance(maps, np.ndarray)
            maps *= self._mask
            if self._softmax:
                maps[0, ~self._mask] = 1
        return labels, maps


def _spacing_for_mask(spacing: Sequence[float] | None) -> Sequence[float]:
    if spacing is not None:
        return checked_spacing(spacing)
    warnings.warn(
        "the model's brain mask needs the size of a voxel, and an array has none, so 1 mm is assumed: pass "
        "spacing=(D, H, W), the millimetres between its voxels",
        InputWarning,
        stacklevel=2,
    )
    return 1.0, 1.0, 1.0

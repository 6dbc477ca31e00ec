"""Runs a volume in NumPy; only its windows go to the inference library."""

from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import numpy as np

from msdk_rt.backends.base import Backend
from msdk_rt.errors import BackendError, InputError
from msdk_rt.inference.arrays import TO_HOST, Array, Floats
from msdk_rt.inference.device.arrays import DeviceVolume
from msdk_rt.inference.labels import label_type, label_voxels, probabilities_of
from msdk_rt.inference.pipeline import Logits, Watch
from msdk_rt.inference.recipe import Recipe
from msdk_rt.inference.stages import Stages
from msdk_rt.inference.sums import sums_of
from msdk_rt.inference.windows import Take, batches_of, blend_planes, blend_windows

CPU = "CPUExecutionProvider"
VOXELS_AT_ONCE = 1 << 20  # of mirrored views, half a window of 128^3


class HostPipeline:
    """Segments volumes on the CPU: `start` does all of the work before it returns."""

    def __init__(self, backend: Backend, recipe: Recipe):
        self._backend, self._recipe, self._weights = backend, recipe, recipe.weights()
        self._activation = recipe.manifest.activation
        self._sums = sums_of(recipe.half_sums, backend.threads)

    def take(self, array: object) -> NoReturn:
        """Raises InputError: the CPU reads no array of a GPU."""
        raise InputError(
            f"got a {type(array).__name__} on a GPU, but the model runs on {self._backend.providers[0]}: "
            f"copy it to the host first, {TO_HOST}"
        )

    def memory(self, shape: Sequence[int]) -> NoReturn:
        """Raises BackendError: there is no device."""
        raise BackendError(
            f"the model runs on {self._backend.providers[0]}, its volumes on the CPU: no device memory is "
            "used"
        )

    def start(
        self,
        volume: Floats | DeviceVolume,
        probabilities: bool = False,
        watch: Watch | None = None,
        stages: Stages | None = None,
        spacing: Sequence[float] | None = None,
    ) -> "Done":
        """Segment a checked volume (C, D, H, W) float32, whose spacing does not matter here.

        watch: wraps the list of batches for iteration. stages: takes the times of "normalise", "gather",
        "infer", "blend", "label". Raises BackendError.
        """
        if isinstance(volume, DeviceVolume):
            self.take(volume)
        timed, values, activation = stages or Stages(), self._recipe.label_values(), self._activation
        labels = np.empty(volume.shape[1:], label_type(values))

        def take(first: int, planes: Floats) -> None:
            with timed("label"):
                labels[first : first + planes.shape[1]] = label_voxels(planes, values, activation)

        if not probabilities:
            self.start_planes(volume, take, watch, timed)
            return Done(labels, None)
        logits = self.start_logits(volume, watch, timed)()
        take(0, logits)
        return Done(labels, probabilities_of(logits, activation))

    def start_logits(
        self, volume: Floats, watch: Watch | None = None, stages: Stages | None = None
    ) -> Logits:
        """The blended logits (K, D, H, W) of a checked volume, as `start` has them. Raises BackendError."""
        logits = blend_windows(*self._windows(volume, stages), **self._way(watch, stages))
        return lambda: logits

    def start_planes(
        self, volume: Floats, take: Take, watch: Watch | None = None, stages: Stages | None = None
    ) -> Callable[[], None]:
        """All logits went to `take` when this returns. Raises BackendError."""
        image, window, infer, starts, weights = self._windows(volume, stages)
        blend_planes(image, window, infer, starts, weights, take, **self._way(watch, stages))
        return lambda: None

    def _windows(self, volume: Floats, stages: Stages | None) -> tuple[Any, ...]:
        """The first arguments of the blend of a checked volume."""
        recipe = self._recipe
        with (stages or Stages())("normalise"):
            volume = recipe.normalisation().on_host(volume)
        starts = recipe.starts(volume.shape[1:])
        return volume, recipe.manifest.window, self._infer, starts, self._weights

    def _way(self, watch: Watch | None, stages: Stages | None) -> dict[str, Any]:
        """The last arguments of the blend."""
        return {
            "batch_size": self._recipe.batch_size,
            "watch": watch or iter,
            "stages": stages,
            "sums": self._sums,
            "folds": self._recipe.manifest.folds or 1,
        }

    def _infer(self, windows: Floats) -> Floats:
        return infer_views(self._backend, self._recipe, windows)


def infer_views(backend: Backend, recipe: Recipe, windows: Floats) -> Floats:
    """Logits (B, K, D, H, W) of windows (B, C, D, H, W), K of all folds, averaged over the mirrored views."""
    axes_of_views = [tuple(axis + 2 for axis in view) for view in recipe.views()]
    if len(axes_of_views) == 1:
        return backend.infer(windows)
    total: Floats | None = None
    for some in batches_of(axes_of_views, _views_at_once(backend, windows)):
        mirrored = np.concatenate([np.flip(windows, axes) for axes in some])
        for axes, logits in zip(some, np.split(backend.infer(mirrored), len(some)), strict=True):
            if total is None:
                total = logits  # not mirrored
            else:
                total += np.flip(logits, axes)
    assert total is not None
    total /= len(axes_of_views)
    return total


def _views_at_once(backend: Backend, windows: Floats) -> int:
    """On a CPU small windows share what is done for each inference, above all the reading of weights."""
    if backend.providers[0] != CPU:
        return 1
    voxels: int = windows[:, 0].size
    return max(1, VOXELS_AT_ONCE // voxels)


class Done:
    """A volume that is segmented; the twin of msdk_rt.inference.device.pipeline.Pending."""

    def __init__(self, labels: Array, probabilities: Floats | None):
        self._results = labels, probabilities

    def result(self) -> tuple[Array, Floats | None]:
        """(labels (D, H, W), probabilities (K, D, H, W) or None)."""
        return self._results

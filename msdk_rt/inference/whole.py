"""Runs volumes by a whole recipe: the host prepares them and labels them, around the network's windows."""

from collections.abc import Callable, Sequence
from typing import NoReturn

from msdk_rt.errors import InputError
from msdk_rt.inference.arrays import TO_HOST, Array, Floats
from msdk_rt.inference.device.arrays import DeviceVolume
from msdk_rt.inference.device.workspace import DeviceBytes
from msdk_rt.inference.pipeline import LogitsPipeline, Watch
from msdk_rt.inference.preparation import labels_of, prepare, probabilities_at
from msdk_rt.inference.recipe import Recipe
from msdk_rt.inference.stages import Stages


class WholePipeline:
    """Segments volumes as they were acquired. inner: has the recipe's of_prepared(). threads: of resampling.

    Implements msdk_rt.inference.pipeline.Pipeline.
    """

    def __init__(self, inner: LogitsPipeline, recipe: Recipe, threads: int | None = None):
        self._inner, self._recipe, self._threads = inner, recipe, threads

    def take(self, array: object) -> NoReturn:
        """Raises InputError: the host prepares volumes."""
        raise InputError(
            f"got a {type(array).__name__} on a GPU, and the model's brain mask, crop, normalisation and "
            f"resampling run on the host: copy it there first, {TO_HOST}"
        )

    def memory(self, shape: Sequence[int]) -> DeviceBytes:
        """Device memory that a volume takes which is (D, H, W) voxels as the network sees it."""
        return self._inner.memory(shape)

    def start(
        self,
        volume: Floats | DeviceVolume,
        probabilities: bool = False,
        watch: Watch | None = None,
        stages: Stages | None = None,
        spacing: Sequence[float] | None = None,
    ) -> "Started":
        """Prepare a checked volume (C, D, H, W) float32 and begin with its windows.

        stages: takes the times of "mask", "crop", "normalise", "resample", of the inner pipeline's stages
        and of "label", which is the way back. Raises InputError and BackendError.
        """
        if isinstance(volume, DeviceVolume):
            self.take(volume)
        prepared = prepare(self._recipe, volume, spacing, stages, self._threads)
        logits = self._inner.start_logits(prepared.volume, watch, stages)

        def finish() -> tuple[Array, Floats | None]:
            found = logits()
            with (stages or Stages())("label"):
                labels = labels_of(self._recipe, found, prepared, self._threads)
                if not probabilities:
                    return labels, None
                return labels, probabilities_at(self._recipe, found, prepared, self._threads)

        return Started(finish)


class Started:
    """A volume whose windows were started. Implements msdk_rt.inference.pipeline.Pending."""

    def __init__(self, finish: Callable[[], tuple[Array, Floats | None]]):
        self._finish = finish

    def result(self) -> tuple[Array, Floats | None]:
        """(labels (D, H, W), probabilities (K, D, H, W) or None). Raises BackendError."""
        return self._finish()

"""Runs volumes by a whole recipe: the host prepares them and labels them, around the network's windows."""

from collections.abc import Callable, Sequence
from typing import NoReturn

from msdk_rt.errors import InputError
from msdk_rt.inference.arrays import TO_HOST, Array, Floats
from msdk_rt.inference.device.arrays import DeviceVolume
from msdk_rt.inference.device.workspace import DeviceBytes
from msdk_rt.inference.pipeline import LogitsPipeline, Watch
from msdk_rt.inference.preparation import Prepared, prepare
from msdk_rt.inference.recipe import Recipe
from msdk_rt.inference.stages import Stages
from msdk_rt.inference.way_back import WayBack, goes_back_by_planes, labels_of, probabilities_at


class WholePipeline:
    """Segments volumes as they were acquired. inner: has the recipe's of_prepared(). threads: of resampling.

    Implements msdk_rt.inference.pipeline.Pipeline.
    """

    def __init__(self, inner: LogitsPipeline, recipe: Recipe, threads: int | None = None):
        self._inner, self._recipe, self._threads = inner, recipe, threads

    def take(self, array: object) -> NoReturn:
        """Raises InputError: the host prepares volumes."""
        raise InputError(
            f"got a {type(array).__name__} on a GPU, and the model's crop, normalisation and resampling run "
            "on "
            f"the host: copy it there first, {TO_HOST}"
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

        stages: takes the times of "crop", "normalise", "resample", of the inner pipeline's stages and of
        "label", which is the way back. Raises InputError and BackendError.
        """
        if isinstance(volume, DeviceVolume):
            self.take(volume)
        timed = stages or Stages()
        prepared = prepare(self._recipe, volume, spacing, timed, self._threads)
        if not probabilities and goes_back_by_planes(self._recipe, prepared):
            return self._start_planes(prepared, watch, timed)
        logits = self._inner.start_logits(prepared.volume, watch, timed)

        def finish() -> tuple[Array, Floats | None]:
            found = logits()
            with timed("label"):
                labels = labels_of(self._recipe, found, prepared, self._threads)
                if not probabilities:
                    return labels, None
                return labels, probabilities_at(self._recipe, found, prepared, self._threads)

        return Started(finish)

    def _start_planes(self, prepared: Prepared, watch: Watch | None, stages: Stages) -> "Started":
        """Labels without logits of the whole volume."""
        way_back = WayBack(self._recipe, prepared, self._threads)

        def take(first: int, planes: Floats) -> None:
            with stages("label"):
                way_back.take(first, planes)

        wait = self._inner.start_planes(prepared.volume, take, watch, stages)

        def finish() -> tuple[Array, Floats | None]:
            wait()
            return way_back.labels, None

        return Started(finish)


class Started:
    """A volume whose windows were started. Implements msdk_rt.inference.pipeline.Pending."""

    def __init__(self, finish: Callable[[], tuple[Array, Floats | None]]):
        self._finish = finish

    def result(self) -> tuple[Array, Floats | None]:
        """(labels (D, H, W), probabilities (K, D, H, W) or None). Raises BackendError."""
        return self._finish()

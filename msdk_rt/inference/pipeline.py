"""The protocol of the host's and the device's pipeline: a volume in, labels and probabilities out."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from msdk_rt.inference.arrays import Array, Floats
from msdk_rt.inference.device.arrays import DeviceArray, DeviceVolume
from msdk_rt.inference.device.workspace import DeviceBytes
from msdk_rt.inference.stages import Stages
from msdk_rt.inference.windows import Take

Watch = Callable[[Iterable[Any]], Iterable[Any]]
Progress = bool | Watch
Labels = Array | DeviceArray
Probabilities = Floats | DeviceArray
Logits = Callable[[], Floats]  # waits for blended logits (K, D, H, W); raises BackendError


class Pending(Protocol):
    """A volume that was started."""

    def result(self) -> tuple[Labels, Probabilities | None]:
        """Waits for (labels (D, H, W), probabilities (K, D, H, W) or None).

        Raises BackendError for NaN or Inf from the network, InputError for those of an array on the device.
        """


class Pipeline(Protocol):
    """Runs volumes through one network, for one thread."""

    def take(self, array: object) -> DeviceVolume:
        """An array of another library on the device, as it lies there. Raises InputError."""

    def memory(self, shape: Sequence[int]) -> DeviceBytes:
        """Device memory that a volume (D, H, W) takes. Raises BackendError where there is no device."""

    def start(
        self,
        volume: Floats | DeviceVolume,
        probabilities: bool = False,
        watch: Watch | None = None,
        stages: Stages | None = None,
        spacing: Sequence[float] | None = None,
    ) -> Pending:
        """Begin to segment a checked volume (C, D, H, W) float32.

        watch: wraps the list of batches of windows for iteration. stages: takes the time of each stage.
        spacing: millimetres between voxels along D, H, W, for a recipe that resamples.
        Raises BackendError, and InputError where the recipe cannot take the volume.
        """


class LogitsPipeline(Protocol):
    """A pipeline that gives the network's logits too, for a recipe that goes on with them."""

    def memory(self, shape: Sequence[int]) -> DeviceBytes:
        """As Pipeline's."""

    def start_logits(
        self, volume: Floats, watch: Watch | None = None, stages: Stages | None = None
    ) -> Logits:
        """Begin with a checked volume (C, D, H, W) float32. Raises BackendError."""

    def start_planes(
        self, volume: Floats, take: Take, watch: Watch | None = None, stages: Stages | None = None
    ) -> Callable[[], None]:
        """Begin with a checked volume (C, D, H, W) float32, whose blended logits go to `take` as those of
        blend_planes do. The function returned waits until all did. Raises BackendError.
        """

"""The protocol of an intensity normalisation, on the host and on a GPU."""

from dataclasses import dataclass
from typing import Protocol

from msdk_rt.backends.base import Stream
from msdk_rt.backends.volume_kernels import VolumeKernels
from msdk_rt.inference.arrays import Floats


@dataclass(frozen=True)
class DeviceWork:
    """A volume on a GPU, and the memory that a normalisation may use there.

    source, target, scratch: addresses of (C, D, H, W) float32, of where the result goes, and of
    kernels.normalize_workspace(channels, voxels) bytes. stream: all work is enqueued on it.
    """

    kernels: VolumeKernels
    stream: Stream
    source: int
    target: int
    scratch: int
    channels: int
    voxels: int


class Normalisation(Protocol):
    """Intensities as acquired -> intensities as the network saw them in training."""

    def on_host(self, volume: Floats) -> Floats:
        """(C, D, H, W) float32, finite -> float32 of the same shape; the input is left as it is."""

    def on_device(self, work: DeviceWork) -> None:
        """Enqueue the same on a GPU; returns before it is done. Raises BackendError."""

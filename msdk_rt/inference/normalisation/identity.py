"""Intensities as they are."""

from msdk_rt.inference.arrays import Floats
from msdk_rt.inference.normalisation.base import DeviceWork


class Identity:
    """Leaves a volume as it is."""

    def on_host(self, volume: Floats) -> Floats:
        return volume

    def on_device(self, work: DeviceWork) -> None:
        work.stream.copy(work.source, work.target, 4 * work.channels * work.voxels)

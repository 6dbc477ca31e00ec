"""Z-score of each channel over its nonzero voxels."""

import numpy as np

from msdk_rt.inference.arrays import Floats
from msdk_rt.inference.normalisation.base import DeviceWork


def normalize(volume: Floats) -> Floats:
    """Z-score of every channel over its nonzero voxels; zero voxels stay zero.

    volume: (C, D, H, W), finite. Returns a new float32 array of the same shape. A channel whose nonzero
    voxels are all equal becomes zero, an all-zero channel stays zero. Sums are float64.
    The rule is MONAI's NormalizeIntensity(nonzero=True, channel_wise=True), population standard deviation.
    """
    normalized = np.array(volume, np.float32, order="C")
    for channel in normalized:
        mask = channel != 0
        values = channel[mask]
        if values.size == 0:
            continue
        values -= np.float32(values.mean(dtype=np.float64))
        variance = np.einsum("i,i->", values, values, dtype=np.float64) / values.size
        deviation = np.float32(np.sqrt(variance))
        if deviation > 0:
            values /= deviation
        channel[mask] = values
    return normalized


class NonzeroZScore:
    """MONAI's NormalizeIntensity(nonzero=True, channel_wise=True)."""

    def on_host(self, volume: Floats) -> Floats:
        return normalize(volume)

    def on_device(self, work: DeviceWork) -> None:
        work.kernels.normalize(
            work.source, work.target, work.channels, work.voxels, work.scratch, work.stream.handle
        )

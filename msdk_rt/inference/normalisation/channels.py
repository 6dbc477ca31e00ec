"""nnU-Net's normalisations, one for each channel, with its formulas and its order of operations."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

import numpy as np

from msdk_rt.errors import BackendError, InputError
from msdk_rt.inference.arrays import Array, Floats
from msdk_rt.inference.foreground import Mask, nonzero_mask, without_holes
from msdk_rt.inference.normalisation.base import DeviceWork

LEAST = 1e-8  # of a standard deviation or a maximum that intensities are divided by
MOST_RGB = 255

Scheme = Callable[[Floats, Mapping[str, Any], Callable[[], Mask]], None]


class PerChannel:
    """A normalisation for each channel. schemes: a manifest's list, {"scheme": name} of each."""

    def __init__(self, schemes: Sequence[Mapping[str, Any]]):
        self._schemes = schemes

    def on_host(self, volume: Floats) -> Floats:
        """Raises InputError for intensities that a scheme cannot take."""
        normalised = np.array(volume, np.float32, order="C")
        masks: list[Mask] = []

        def inside() -> Mask:
            if not masks:
                masks.append(without_holes(nonzero_mask(volume)))
            return masks[0]

        for channel, entry in zip(normalised, self._schemes, strict=True):
            SCHEMES[entry["scheme"]](channel, entry, inside)
        return normalised

    def on_device(self, work: DeviceWork) -> NoReturn:
        """Raises BackendError: a pipeline normalises on the host and hands over the result."""
        raise BackendError("normalisations by channel run on the host: give the pipeline a normalised volume")


def _zscore(channel: Floats, entry: Mapping[str, Any], inside: Callable[[], Mask]) -> None:
    _standardise(channel.reshape(-1))


def _masked_zscore(channel: Floats, entry: Mapping[str, Any], inside: Callable[[], Mask]) -> None:
    """Of voxels that are not 0 in every channel and of the holes among them; others stay as they are."""
    mask = inside()
    values = channel[mask]
    if values.size:
        _standardise(values)
        channel[mask] = values


def _standardise(values: Floats) -> None:
    """(N,) in place, N > 0; sums are float64."""
    values -= np.float32(values.mean(dtype=np.float64))
    variance = np.einsum("i,i->", values, values, dtype=np.float64) / values.size
    values /= np.float32(max(np.sqrt(variance), LEAST))


def _ct(channel: Floats, entry: Mapping[str, Any], inside: Callable[[], Mask]) -> None:
    """Clipped to the training set's percentiles, then its mean and standard deviation."""
    np.clip(channel, np.float32(entry["low"]), np.float32(entry["high"]), out=channel)
    channel -= np.float32(entry["mean"])
    channel /= np.float32(max(entry["std"], LEAST))


def _rescale_to_01(channel: Floats, entry: Mapping[str, Any], inside: Callable[[], Mask]) -> None:
    channel -= channel.min()
    channel /= max(channel.max(), np.float32(LEAST))


def _rgb_to_01(channel: Floats, entry: Mapping[str, Any], inside: Callable[[], Mask]) -> None:
    low, high = float(channel.min()), float(channel.max())
    if low < 0 or high > MOST_RGB:
        raise InputError(
            f"a channel has intensities from {low:g} to {high:g}, and the model takes colours from 0 to "
            f"{MOST_RGB}: give the images as they were given in training"
        )
    channel /= np.float32(MOST_RGB)


def _none(channel: Array, entry: Mapping[str, Any], inside: Callable[[], Mask]) -> None:
    """Intensities as they are."""


SCHEMES: dict[str, Scheme] = {
    "zscore": _zscore,
    "masked_zscore": _masked_zscore,
    "ct": _ct,
    "rescale_to_01": _rescale_to_01,
    "rgb_to_01": _rgb_to_01,
    "none": _none,
}

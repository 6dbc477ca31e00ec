"""Intensity normalisation, by the name that a manifest gives it."""

from collections.abc import Mapping, Sequence
from typing import Any

from msdk_rt.errors import ArtifactError, shown
from msdk_rt.inference.normalisation.base import DeviceWork, Normalisation
from msdk_rt.inference.normalisation.channels import SCHEMES, PerChannel
from msdk_rt.inference.normalisation.identity import Identity
from msdk_rt.inference.normalisation.zscore import NonzeroZScore, normalize

__all__ = ["DeviceWork", "Normalisation", "normalisation", "normalize"]

_BY_NAME: dict[str, Normalisation] = {
    "nonzero_zscore": NonzeroZScore(),
    "none": Identity(),
}


def normalisation(name: str | Sequence[Mapping[str, Any]]) -> Normalisation:
    """The normalisation of this name, or of these, one for each channel.

    Raises ArtifactError for a name that nothing here carries out.
    """
    if isinstance(name, str):
        if found := _BY_NAME.get(name):
            return found
        raise _unknown(name, _BY_NAME)
    for entry in name:
        if entry["scheme"] not in SCHEMES:
            raise _unknown(entry["scheme"], SCHEMES)
    return PerChannel(name)


def _unknown(name: str, known: Mapping[str, object]) -> ArtifactError:
    return ArtifactError(
        f"normalization {shown(name)} is not known to this msdk_rt, which has {', '.join(known)}: upgrade "
        "msdk_rt, or export the model again"
    )

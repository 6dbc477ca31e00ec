"""Intensity normalisation, by the name that a manifest gives it."""

from msdk_rt.errors import ArtifactError, shown
from msdk_rt.inference.normalisation.base import DeviceWork, Normalisation
from msdk_rt.inference.normalisation.identity import Identity
from msdk_rt.inference.normalisation.zscore import NonzeroZScore, normalize

__all__ = ["DeviceWork", "Normalisation", "normalisation", "normalize"]

_BY_NAME: dict[str, Normalisation] = {
    "nonzero_zscore": NonzeroZScore(),
    "none": Identity(),
}


def normalisation(name: str) -> Normalisation:
    """The normalisation of this name. Raises ArtifactError for a name that nothing here carries out."""
    if found := _BY_NAME.get(name):
        return found
    raise ArtifactError(
        f"normalization {shown(name)} is not known to this msdk_rt, which has {', '.join(_BY_NAME)}: upgrade "
        "msdk_rt, or export the model again"
    )

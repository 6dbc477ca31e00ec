"""Warns of results whose volumes are implausible for a model."""

import warnings
from collections.abc import Mapping, Sequence

from msdk_rt.artifact.notes import InputWarning
from msdk_rt.imaging.results import Segmentation


def warn_of_volumes(segmentation: Segmentation, plausible: Mapping[str, Sequence[float]] | None) -> None:
    """Give an InputWarning that names every label whose volume lies outside its limits.

    segmentation: of a file. plausible: a manifest's entry plausible_ml; None warns of nothing.
    """
    if not plausible or segmentation.space is None or segmentation.described is None:
        return
    voxels = segmentation.voxels_of({name: segmentation.described.labels[name] for name in plausible})
    odd = []
    for name, (least, most) in plausible.items():
        millilitres = voxels[name] * segmentation.space.voxel_ml
        if not least <= millilitres <= most:
            odd.append(f"{millilitres:.0f} ml of {name} (expected {least:g} to {most:g})")
    if odd:
        warnings.warn(
            f"the result has {', '.join(odd)}: it is probably wrong, or the image does not show all of "
            "it; look at the result before you use it",
            InputWarning,
            stacklevel=2,
        )

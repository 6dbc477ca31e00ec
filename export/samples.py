"""A window of a real volume for the parity check, and the label map that goes with it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import nibabel
import numpy as np

from msdk_export.description import ModelDescription
from msdk_rt.errors import InputError
from msdk_rt.imaging.formats import open_image
from msdk_rt.imaging.volumes import read_volume
from msdk_rt.inference.arrays import as_volume
from msdk_rt.inference.normalisation import normalisation
from msdk_rt.inference.preparation import prepare, target_spacing

Sample: TypeAlias = np.ndarray | str | Path | Sequence[str | Path]
TEMPLATE_SPACING = (1.0, 1.0, 1.0)
LabelMap: TypeAlias = np.ndarray | str | Path


class RealWindow(NamedTuple):
    """voxels (1, C, D, H, W) float32, where they are from, and with a reference their labels (D, H, W)."""

    voxels: np.ndarray | None = None
    source: str | None = None
    labels: np.ndarray | None = None


def real_window(
    sample: Sample | None, description: ModelDescription, reference: LabelMap | None = None
) -> RealWindow:
    """A window of a real volume; an empty RealWindow without a sample and without nilearn.

    sample: an array (C, D, H, W), one NIfTI path per channel, or None for the MNI152 T1 template in every
    channel. The window is the sample's middle, or with a reference that of labelled_window. Raises InputError
    when the sample does not have the model's channels or is not finite.
    """
    names = description.channels
    spacing: Sequence[float]
    if sample is not None and reference is not None:
        voxels, labels = labelled_window(sample, reference, description)
        return RealWindow(voxels, _source(sample), labels)
    if sample is None:
        template = _template()
        if template is None:
            return RealWindow()
        volume = np.broadcast_to(template, (len(names), *template.shape))
        source, spacing = "MNI152 T1 template in every channel", TEMPLATE_SPACING
    elif isinstance(sample, np.ndarray):
        volume, source, spacing = as_volume(sample, names), _source(sample), _networks_spacing(description)
    else:
        read = read_volume(_paths(sample), names, description.orientation)
        volume, source, spacing = read.data, _source(sample), read.space.spacing
    prepared = prepare(description.recipe(), np.ascontiguousarray(volume), spacing).volume
    return RealWindow(centre_window(prepared, description.window), source)


def _networks_spacing(description: ModelDescription) -> Sequence[float]:
    """The spacing that an array is taken to have: what the network sees, 1 mm where it sees any."""
    if description.resampling is None:
        return TEMPLATE_SPACING
    return target_spacing(description.resampling, TEMPLATE_SPACING)


def labelled_window(
    sample: Sample, reference: LabelMap, description: ModelDescription
) -> tuple[np.ndarray, np.ndarray]:
    """(window (1, C, D, H, W) float32, its true voxel values (D, H, W)), around the foreground's middle.

    Files are turned to the model's axes; arrays are in them. Raises InputError when the two do not lie in one
    space, when the reference has values that are not the labels', and when all of them are 0.
    """
    volume, labels = _sample_and_labels(sample, reference, description)
    foreground = np.argwhere(labels != 0)
    if not len(foreground):
        raise InputError("the reference is 0 everywhere: give a case with something to find in it")
    centre = tuple(int(at) for at in (foreground.min(0) + foreground.max(0) + 1) // 2)
    window = centre_window(volume, description.window, centre)
    return window, centre_window(labels[None], description.window, centre)[0, 0]


def _sample_and_labels(
    sample: Sample, reference: LabelMap, description: ModelDescription
) -> tuple[np.ndarray, np.ndarray]:
    """(normalised volume (C, D, H, W) float32, its true voxel values (D, H, W))."""
    names = description.channels
    if isinstance(sample, np.ndarray):
        volume = as_volume(sample, names)
        labels = reference if isinstance(reference, np.ndarray) else read_volume([reference]).data[0]
    elif isinstance(reference, np.ndarray):
        volume, labels = read_volume(_paths(sample), names).data, reference
    else:
        both = read_volume([*_paths(sample), reference], [*names, "the reference"]).data
        volume, labels = both[:-1], both[-1]
    if labels.shape != volume.shape[1:]:
        raise InputError(
            f"the reference has shape {labels.shape}, expected that of the sample, {volume.shape[1:]}"
        )
    known = {0, *description.labels.values()}
    if unknown := sorted({float(value) for value in np.unique(labels)} - known):
        raise InputError(
            f"the reference has voxel values {', '.join(f'{value:g}' for value in unknown[:8])}, and labels "
            f"has {', '.join(map(str, sorted(known)))}: give the label map that the labels describe"
        )
    return normalisation(description.normalization).on_host(volume), labels


def sample_spacing(sample: Sample | None) -> dict[str, Any] | None:
    """A manifest's entry `spacing` for a sample in files; None for an array and for no sample."""
    if sample is None or isinstance(sample, np.ndarray):
        return None
    return spacing_range([_paths(sample)[0]])


def spacing_range(files: Sequence[str | Path]) -> dict[str, Any]:
    """A manifest's entry `spacing` of these images in RAS order, by their headers. Raises InputError."""
    spacings = [open_image(Path(path), series=True).space("RAS").spacing for path in files]
    return {"low": list(map(min, *spacings, spacings[0])), "high": list(map(max, *spacings, spacings[0]))}


def centre_window(
    volume: np.ndarray, window: tuple[int, int, int], centre: tuple[int, ...] | None = None
) -> np.ndarray:
    """A window of a volume (C, D, H, W), zero-padded where that is smaller: (1, C, *window) float32.

    It is the middle of the volume, or as near to the voxel `centre` as lies inside.
    """
    out = np.zeros((1, len(volume), *window), np.float32)
    source = [slice(None)]
    target: list[int | slice] = [0, slice(None)]
    middle = centre or tuple(side // 2 for side in volume.shape[1:])
    for side, wanted, at in zip(volume.shape[1:], window, middle, strict=True):
        kept = min(side, wanted)
        start = (side - kept) // 2 if centre is None else min(max(at - kept // 2, 0), side - kept)
        source.append(slice(start, start + kept))
        target.append(slice((wanted - kept) // 2, (wanted - kept) // 2 + kept))
    out[tuple(target)] = volume[tuple(source)]
    return out


def _paths(sample: str | Path | Sequence[str | Path]) -> list[str | Path]:
    return [sample] if isinstance(sample, str | Path) else list(sample)


def _source(sample: Sample) -> str:
    return "array" if isinstance(sample, np.ndarray) else ", ".join(Path(p).name for p in _paths(sample))


def _template() -> np.ndarray | None:
    """The MNI152 T1 at 1 mm that nilearn ships, (D, H, W) in RAS order; None without nilearn."""
    try:
        from nilearn.datasets import load_mni152_template
    except ImportError:
        return None
    image = nibabel.as_closest_canonical(load_mni152_template(resolution=1))
    voxels: np.ndarray = image.get_fdata(dtype=np.float32)
    return voxels

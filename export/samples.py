"""A window of a real volume for the parity check: normalised, cut from the middle."""

from collections.abc import Sequence
from pathlib import Path

import nibabel
import numpy as np

from msdk_export.description import ModelDescription
from msdk_rt.imaging.volumes import read_volume
from msdk_rt.inference.arrays import as_volume
from msdk_rt.inference.normalisation import normalisation


def real_window(
    sample: np.ndarray | str | Path | Sequence[str | Path] | None, description: ModelDescription
) -> tuple[np.ndarray | None, str | None]:
    """(window (1, C, D, H, W) float32, where it is from); (None, None) without a sample and without nilearn.

    sample: an array (C, D, H, W), one NIfTI path per channel, or None for the MNI152 T1 template in every
    channel. Raises InputError when it does not have the model's channels or is not finite.
    """
    names = description.channels
    if sample is None:
        template = _template()
        if template is None:
            return None, None
        volume = np.broadcast_to(template, (len(names), *template.shape))
        source = "MNI152 T1 template in every channel"
    elif isinstance(sample, np.ndarray):
        volume, source = as_volume(sample, names), "array"
    else:
        paths = [sample] if isinstance(sample, str | Path) else list(sample)
        volume = read_volume(paths, names).data
        source = ", ".join(Path(path).name for path in paths)
    volume = normalisation(description.normalization).on_host(volume)
    return centre_window(volume, description.window), source


def centre_window(volume: np.ndarray, window: tuple[int, int, int]) -> np.ndarray:
    """The middle of a volume (C, D, H, W), zero-padded where it is smaller: (1, C, *window) float32."""
    out = np.zeros((1, len(volume), *window), np.float32)
    source, target = [slice(None)], [0, slice(None)]
    for side, wanted in zip(volume.shape[1:], window, strict=True):
        kept = min(side, wanted)
        source.append(slice((side - kept) // 2, (side - kept) // 2 + kept))
        target.append(slice((wanted - kept) // 2, (wanted - kept) // 2 + kept))
    out[tuple(target)] = volume[tuple(source)]
    return out


def _template() -> np.ndarray | None:
    """The MNI152 T1 at 1 mm that nilearn ships, (D, H, W) in RAS order; None without nilearn."""
    try:
        from nilearn.datasets import load_mni152_template
    except ImportError:
        return None
    image = nibabel.as_closest_canonical(load_mni152_template(resolution=1))
    return image.get_fdata(dtype=np.float32)

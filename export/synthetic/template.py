"""The MNI152 tissue maps as probabilities of background, CSF, grey and white matter."""

from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

CLASSES = ("background", "cerebrospinal fluid", "grey matter", "white matter")
_SHRINK = 2  # the distance map is computed at half the resolution: it is smooth, and eight times less work


@dataclass(frozen=True)
class Template:
    """MNI152 (ICBM 2009a, nonlinear, symmetric) in RAS order at 1 mm; maps are float32.

    probabilities (4, D, H, W), one map a class, summing to 1; t1 (D, H, W) in [0, 1], 0 outside the brain;
    distance (D, H, W): mm to the brain's surface, negative inside; affine (4, 4), voxel to world mm.
    """

    probabilities: Tensor
    t1: Tensor
    distance: Tensor
    affine: np.ndarray

    @property
    def labels(self) -> np.ndarray:
        """The most probable class of every voxel: (D, H, W) uint8."""
        return self.probabilities.argmax(0).numpy().astype(np.uint8)


def load_template() -> Template:
    """Read the maps that nilearn ships. CSF is what of the brain is neither grey nor white."""
    from nilearn.datasets import load_mni152_gm_template, load_mni152_template, load_mni152_wm_template

    images = [
        load(resolution=1)
        for load in (load_mni152_template, load_mni152_gm_template, load_mni152_wm_template)
    ]
    t1, grey, white = (np.asarray(image.dataobj, np.float32) for image in images)
    t1 /= t1.max()
    brain = ndimage.binary_fill_holes(t1 > 0)
    grey, white = (np.where(brain, np.clip(tissue, 0, 1), 0) for tissue in (grey, white))
    excess = np.maximum(grey + white, 1)
    grey, white = grey / excess, white / excess
    maps = [~brain, brain - grey - white, grey, white]
    return Template(
        torch.from_numpy(np.stack(maps).astype(np.float32)),
        torch.from_numpy(t1),
        torch.from_numpy(_distance(brain)),
        images[0].affine,
    )


def _distance(brain: np.ndarray) -> np.ndarray:
    half = brain[::_SHRINK, ::_SHRINK, ::_SHRINK]
    signed = ndimage.distance_transform_edt(~half) - ndimage.distance_transform_edt(half)
    full = torch.nn.functional.interpolate(
        torch.from_numpy((_SHRINK * signed).astype(np.float32))[None, None],
        size=brain.shape,
        mode="trilinear",
        align_corners=False,
    )
    return full[0, 0].numpy()

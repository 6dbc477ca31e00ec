"""Resampling with nnU-Net's results: volumes to a new shape, logits straight to labels or probabilities."""

from msdk_rt.inference.resampling.labels import (
    LabelsByPlanes,
    by_planes,
    resample_to_labels,
    resample_to_probabilities,
)
from msdk_rt.inference.resampling.spacing import resampled_shape, separate_z
from msdk_rt.inference.resampling.volumes import resample

__all__ = [
    "LabelsByPlanes",
    "by_planes",
    "resample",
    "resample_to_labels",
    "resample_to_probabilities",
    "resampled_shape",
    "separate_z",
]

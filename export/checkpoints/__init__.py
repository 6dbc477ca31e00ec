"""Checkpoints: weights in a file, and a description that says which network they belong to.

A .safetensors file carries the description as JSON under the metadata key "msdk"; a .pt or .pth file is a
dict {"state_dict": {...}, "msdk": {...}}, or a bare state dict, which has no description. Other names that
trainers give the state dict in such a dict are WRAPPERS; prefixes that wrapped networks give to all their
keys, PREFIXES, are taken off. The description's keys, all optional:

    family          key of msdk_export.families
    config          the family's configuration, a dict
    window          [D, H, W]
    channels        modalities in input order
    labels          {logit channel: voxel value}, in channel order
    activation      "softmax" or "sigmoid"
    normalization   "nonzero_zscore" or "none"
    spacing         {"low": [D, H, W], "high": [D, H, W]}, millimetres of the voxels it was trained with
"""

from msdk_export.checkpoints.files import load_checkpoint, save_checkpoint
from msdk_export.checkpoints.model import build_model, describe_model

__all__ = ["build_model", "describe_model", "load_checkpoint", "save_checkpoint"]

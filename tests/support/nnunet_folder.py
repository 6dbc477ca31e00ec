"""Results folders of nnU-Net v2, whose networks were trained for some steps, and volumes for them."""

import copy
import json
from pathlib import Path

import nibabel
import numpy as np
import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet
from torch import nn

SAME = {"is_seg": False, "force_separate_z": None}
DATA = "resample_data_or_seg_to_shape"


def plans(
    patch=(16, 24, 24),
    spacing=(1.0, 1.0, 1.0),
    schemes=("ZScoreNormalization",),
    masked=None,
    name="3d_fullres",
    transpose=(0, 1, 2),
    reader="SimpleITKIO",
    features=(8, 16),
    **entries,
):
    """Plans with one configuration, in the format of nnU-Net 2.5 and later."""
    dimensions, stages = len(patch), len(features)
    masked = [False] * len(schemes) if masked is None else list(masked)
    configuration = {
        "data_identifier": f"nnUNetPlans_{name}",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "patch_size": list(patch),
        "median_image_size_in_voxels": [float(side) for side in patch],
        "spacing": list(spacing),
        "normalization_schemes": list(schemes),
        "use_mask_for_norm": masked,
        "resampling_fn_data": DATA,
        "resampling_fn_seg": DATA,
        "resampling_fn_data_kwargs": SAME | {"order": 3, "order_z": 0},
        "resampling_fn_seg_kwargs": {"is_seg": True, "order": 1, "order_z": 0, "force_separate_z": None},
        "resampling_fn_probabilities": DATA,
        "resampling_fn_probabilities_kwargs": SAME | {"order": 1, "order_z": 0},
        "architecture": architecture(dimensions, features),
        "batch_dice": False,
    }
    statistics = {
        "max": 1500.0,
        "mean": 90.0,
        "median": 95.0,
        "min": -900.0,
        "percentile_00_5": -300.0,
        "percentile_99_5": 900.0,
        "std": 140.0,
    }
    assert stages == len(features)
    return {
        "dataset_name": "Dataset998_Balls",
        "plans_name": "nnUNetPlans",
        "original_median_spacing_after_transp": [1.0, 1.0, 1.0],
        "original_median_shape_after_transp": [64, 64, 64],
        "image_reader_writer": reader,
        "transpose_forward": list(transpose),
        "transpose_backward": [list(transpose).index(axis) for axis in range(3)],
        "configurations": {name: configuration | entries},
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {
            str(channel): dict(statistics) for channel in range(len(schemes))
        },
    }


def architecture(dimensions, features):
    stages = len(features)
    return {
        "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
        "arch_kwargs": {
            "n_stages": stages,
            "features_per_stage": list(features),
            "conv_op": f"torch.nn.modules.conv.Conv{dimensions}d",
            "kernel_sizes": [[3] * dimensions] * stages,
            "strides": [[1] * dimensions] + [[2] * dimensions] * (stages - 1),
            "n_conv_per_stage": [1] * stages,
            "n_conv_per_stage_decoder": [1] * (stages - 1),
            "conv_bias": True,
            "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{dimensions}d",
            "norm_op_kwargs": {"eps": 1e-05, "affine": True},
            "dropout_op": None,
            "dropout_op_kwargs": None,
            "nonlin": "torch.nn.LeakyReLU",
            "nonlin_kwargs": {"inplace": True},
        },
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }


def dataset(channels=1, labels=None, **entries):
    return {
        "channel_names": {str(channel): f"m{channel}" for channel in range(channels)},
        "labels": labels or {"background": 0, "ball": 1, "core": 2},
        "numTraining": 2,
        "file_ending": ".nii.gz",
    } | entries


def unet(channels, classes, configuration):
    """The network of a configuration, as nnU-Net builds it."""
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

    entry = configuration["architecture"]
    return get_network_from_plans(
        entry["network_class_name"],
        copy.deepcopy(entry["arch_kwargs"]),
        entry["_kw_requires_import"],
        channels,
        classes,
        deep_supervision=False,
    )

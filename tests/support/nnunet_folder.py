"""Results folders of nnU-Net v2, whose networks were trained for some steps, and volumes for them."""

import copy
import json
from pathlib import Path

import nibabel
import numpy as np
import torch
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


def trained(network, sample, classes, regions, steps, seed=0):
    """Train for some steps: patches (B, C, ...) to the class or regions of each voxel.

    sample(rng): one patch (C, ...) float32, normalised, and the class of each voxel.
    """
    torch.manual_seed(seed)
    network.train()
    optimiser = torch.optim.Adam(network.parameters(), 3e-3)
    rng = np.random.default_rng(seed)
    for _ in range(steps):
        images, targets = zip(*(sample(rng) for _ in range(2)), strict=True)
        logits = network(torch.from_numpy(np.stack(images)))
        target = torch.from_numpy(np.stack(targets)).long()
        if regions:
            nested = torch.stack([target > k for k in range(classes)], 1).float()
            loss = nn.functional.binary_cross_entropy_with_logits(logits, nested)
        else:
            loss = nn.functional.cross_entropy(logits, target)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return network.eval()


def balls(rng, shape, channels, classes):
    """(image (C, ...) float32 of unit variance, target (...) int64): a ball in a ball, `classes` values."""
    grid = np.indices(shape, np.float32)
    target = np.zeros(shape, np.int64)
    for _ in range(2):
        centre = [rng.uniform(0.2 * side, 0.8 * side) for side in shape]
        distance = np.sqrt(sum((axis - at) ** 2 for axis, at in zip(grid, centre, strict=True)))
        radius = rng.uniform(0.2, 0.4) * min(side for side in shape if side > 1)
        for k in range(1, max(classes, 2)):
            target[distance < radius / k] = k
    image = target * 1.2 + rng.standard_normal((channels, *shape)) * 0.4
    image += 0.3 * np.sin(grid[-1] / 5)
    return ((image - image.mean()) / image.std()).astype(np.float32), target


def write_folder(
    path: Path,
    plan,
    data,
    folds=(0,),
    mirror_axes=(0, 1, 2),
    trainer="nnUNetTrainer",
    network=unet,
    steps=40,
    sample=None,
    **checkpoint,
):
    """A results folder whose folds were trained for `steps`, each from another start.

    sample: as of `trained`; default: balls of the plans' patch size.
    """
    (name, configuration), channels = next(iter(plan["configurations"].items())), len(data["channel_names"])
    regions = "regions_class_order" in data
    classes = len(data["regions_class_order"]) if regions else len(data["labels"])

    def a_patch_of_balls(rng):
        return balls(rng, configuration["patch_size"], channels, classes)

    path.mkdir(parents=True)
    (path / "plans.json").write_text(json.dumps(plan))
    (path / "dataset.json").write_text(json.dumps(data))
    for index, fold in enumerate(folds):
        torch.manual_seed(100 + index)
        one = network(channels, classes, configuration)
        trained(one, sample or a_patch_of_balls, classes, regions, steps, seed=index)
        folder = path / f"fold_{fold}"
        folder.mkdir()
        content = {
            "network_weights": one.state_dict(),
            "optimizer_state": {},
            "grad_scaler_state": None,
            "logging": {"ema_fg_dice": [np.float32(0.5)], "epoch_end_timestamps": [1.0]},
            "_best_ema": np.float64(0.75),
            "current_epoch": 1,
            "init_args": {
                "plans": plan,
                "configuration": name,
                "fold": fold,
                "dataset_json": data,
                "device": torch.device("cpu"),
            },
            "trainer_name": trainer,
            "inference_allowed_mirroring_axes": mirror_axes,
        }
        torch.save(content | checkpoint, folder / "checkpoint_final.pth")
    return path


def head(seed, shape=(40, 44, 36), spacing=(1.0, 1.0, 1.0), channels=1, kind="mr", margin=0, affine=None):
    """A volume of balls (C, X, Y, Z) as acquired, and its affine.

    kind: "mr", "ct" in Hounsfield units, "rgb" from 0 to 255. margin: voxels around it that are 0 in all
    channels.
    """
    rng = np.random.default_rng(seed)
    image, _ = balls(rng, shape, channels, 3)
    factor, offset = {"ct": (140, 90), "mr": (60, 400), "rgb": (25, 110)}[kind]
    image = np.round(image * factor + offset).astype(np.float32)
    if kind == "rgb":
        image = np.clip(image, 0, 255)
    if margin:
        cut = np.zeros_like(image)
        inside = (slice(None), *(slice(margin, -margin),) * 3)
        cut[inside] = image[inside]
        image = cut
    place = np.diag([*spacing, 1.0])
    if affine is not None:
        place[:3, :3] = affine @ place[:3, :3]
    place[:3, 3] = (-10, 5, 3)
    return image, place


def write_case(folder: Path, name: str, image, affine):
    """One file for each channel, named as nnU-Net names them."""
    folder.mkdir(exist_ok=True, parents=True)
    paths = []
    for channel, voxels in enumerate(image):
        paths.append(folder / f"{name}_{channel:04d}.nii.gz")
        nibabel.save(nibabel.Nifti1Image(voxels, affine), paths[-1])
    return paths

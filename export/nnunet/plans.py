"""nnU-Net's plans, of old and new format: one configuration with what it inherits, and its network."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msdk_rt.errors import CheckpointError, shown

MOST_STAGES = 16
# Entries of a configuration that change what a network computes or sees.
DECISIVE = (
    "patch_size",
    "spacing",
    "normalization_schemes",
    "use_mask_for_norm",
    "resampling_fn_data",
    "resampling_fn_data_kwargs",
    "resampling_fn_probabilities",
    "resampling_fn_probabilities_kwargs",
    "preprocessor_name",
    "previous_stage",
)


@dataclass(frozen=True)
class Architecture:
    """The network of a configuration: dotted name of its class, and the arguments that the plans say.

    Those in `imported` are dotted names of classes.
    """

    name: str
    arguments: Mapping[str, Any]
    imported: tuple[str, ...]


def configuration_of(plans: Mapping[str, Any], name: str, source: Path) -> dict[str, Any]:
    """A configuration of the plans with what it inherits. Raises CheckpointError."""
    configurations = plans.get("configurations")
    if not isinstance(configurations, Mapping):
        raise CheckpointError(f"{source}: no plans of nnU-Net v2, they have no configurations")
    chain: list[Mapping[str, Any]] = []
    visited: list[str] = []
    while True:
        found = configurations.get(name)
        if not isinstance(found, Mapping) or name in visited:
            there = ", ".join(map(str, configurations))
            raise CheckpointError(
                f"{source}: no configuration {shown(name)} that can be read, there are {there}: give the "
                "plans "
                "that the folds were trained with"
            )
        chain.append(found)
        visited.append(name)
        if "inherits_from" not in found:
            break
        name = found["inherits_from"]
    return {key: value for entries in reversed(chain) for key, value in entries.items()}


def difference(found: Mapping[str, Any], expected: Mapping[str, Any]) -> str:
    """Say how two configurations differ in what a network computes or sees, "" where they do not."""
    for name in DECISIVE:
        if _plain(found.get(name)) != _plain(expected.get(name)):
            return f"{name} is {shown(found.get(name))} there and {shown(expected.get(name))} here"
    one, other = architecture_of(found), architecture_of(expected)
    if one.name != other.name or _plain(dict(one.arguments)) != _plain(dict(other.arguments)):
        return "the networks are different"
    return ""


def architecture_of(configuration: Mapping[str, Any]) -> Architecture:
    """The network that a configuration describes. Raises CheckpointError."""
    try:
        if "architecture" in configuration:
            entry = configuration["architecture"]
            return Architecture(
                str(entry["network_class_name"]),
                dict(entry["arch_kwargs"]),
                tuple(entry["_kw_requires_import"]),
            )
        return _old_architecture(configuration)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"the plans do not describe a network: {type(error).__name__} {error}; give plans that nnU-Net "
            "2.1 or "
            "later wrote"
        ) from error


def _old_architecture(configuration: Mapping[str, Any]) -> Architecture:
    """As nnU-Net 2.8 reads plans of before 2.5 (nnunetv2/utilities/plans_handling/plans_handler.py)."""
    name = configuration["UNet_class_name"]
    known = {
        "PlainConvUNet": (
            "dynamic_network_architectures.architectures.unet.PlainConvUNet",
            "n_conv_per_stage",
        ),
        "ResidualEncoderUNet": (
            "dynamic_network_architectures.architectures.residual_unet.ResidualEncoderUNet",
            "n_blocks_per_stage",
        ),
    }
    if name not in known:
        raise ValueError(f"network class {name!r} of old plans, expected {' or '.join(known)}")
    path, blocks = known[name]
    stages = len(configuration["n_conv_per_stage_encoder"])
    if stages > MOST_STAGES:
        raise ValueError(f"{stages} stages, expected at most {MOST_STAGES}")
    base, most = configuration["UNet_base_num_features"], configuration["unet_max_num_features"]
    dimensions = len(configuration["patch_size"])
    arguments = {
        "n_stages": stages,
        "features_per_stage": [min(base * 2**stage, most) for stage in range(stages)],
        "conv_op": f"torch.nn.modules.conv.Conv{dimensions}d",
        "kernel_sizes": configuration["conv_kernel_sizes"],
        "strides": configuration["pool_op_kernel_sizes"],
        blocks: configuration["n_conv_per_stage_encoder"],
        "n_conv_per_stage_decoder": configuration["n_conv_per_stage_decoder"],
        "conv_bias": True,
        "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{dimensions}d",
        "norm_op_kwargs": {"eps": 1e-5, "affine": True},
        "dropout_op": None,
        "dropout_op_kwargs": None,
        "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
    }
    return Architecture(path, arguments, ("conv_op", "norm_op", "dropout_op", "nonlin"))


def _plain(value: object) -> object:
    """As it is after a way through JSON; numbers that JSON cannot hold as they are shown."""
    return json.loads(json.dumps(value, default=shown))

"""The network that a checkpoint's weights belong to, with them in it."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from msdk_export.checkpoints.tensors import FLOATS
from msdk_export.families import family_named, family_of, identify
from msdk_export.notes import note
from msdk_export.wording import listed
from msdk_rt.errors import CheckpointError, InputError, one_line

MOST_BLOCKS = 1000
MOST_MISSING = 100  # times the weights that are there
_BATCH_COUNTER = "num_batches_tracked"  # of a norm: no part of what the network computes
SMALL = 50_000_000  # parameters, which any machine can hold


def describe_model(model: nn.Module) -> dict[str, Any]:
    """family and config of a network of a known family, {} for any other module, subclasses among them."""
    family = family_of(model)
    if family is None:
        return {}
    config: Any = model.config  # of the type family.config
    return {"family": family.name, "config": dataclasses.asdict(config)}


def build_model(description: dict[str, Any], state_dict: dict[str, Tensor]) -> nn.Module:
    """The network that these weights belong to, with them, in evaluation mode.

    A family or size that the description leaves out is read from the names and shapes of the weights, as far
    as they tell (see msdk_export.families.identify). An entry that no weights tell has the family's default,
    and an ExportWarning says so.

    Raises CheckpointError when the family is unknown or unrecognisable, when no network has the config, or
    when the weights are not exactly the network's (missing, unexpected and misshapen keys are listed).
    """
    name, config = identify(description, state_dict)
    source = "of the checkpoint's config" if "config" in description else "that they resemble most"
    model = network_of(name, config, state_dict, source)
    for ambiguity in family_named(name).ambiguities:
        if ambiguity.entry not in config:
            note(
                f"the weights of a {name} network do not tell {ambiguity.entry}: {ambiguity.why}. "
                f"{getattr(model.config, ambiguity.entry)!r} was assumed; give {ambiguity.entry} in config, "
                "or a sample and its reference to compare with"
            )
    return model


def network_of(
    name: str, config: dict[str, Any], state_dict: Mapping[str, Tensor], source: str = "of that config"
) -> nn.Module:
    """The network of this family and config with these weights, in evaluation mode.

    source: whose network it is, for the error. Raises CheckpointError as build_model does.
    """
    family = family_named(name)
    try:
        sizes = family.config(**config)
        _check_size(family.network, sizes, state_dict)
        model = family.network(sizes)
    except (TypeError, InputError) as error:
        raise CheckpointError(
            f"the checkpoint's config does not describe a {name} network: {error}"
        ) from error

    if problems := load_weights(model, state_dict):
        raise CheckpointError(
            f"the weights do not fit the {name} network {source} ({'; '.join(problems)}): give the "
            "checkpoint that belongs to it, whole, or correct the config"
        )
    return model.eval()


def _check_size(model_type: type[nn.Module], sizes: Any, state_dict: Mapping[str, Tensor]) -> None:
    """Raise InputError when the network would be far larger than the weights there are for it."""
    if sum(sizes.depths) > MOST_BLOCKS:
        raise InputError(f"it has {sum(sizes.depths):,} blocks, expected at most {MOST_BLOCKS}")
    try:
        with torch.device("meta"):  # shapes without memory
            parameters = sum(tensor.numel() for tensor in model_type(sizes).parameters())
    except (RuntimeError, OverflowError) as error:
        raise InputError(f"no network can be that large ({one_line(error)})") from error
    most = MOST_MISSING * sum(tensor.numel() for tensor in state_dict.values()) + SMALL
    if parameters > most:
        raise InputError(f"it has {parameters:,} parameters, far more than the checkpoint")


def load_weights(model: nn.Module, state_dict: Mapping[str, Tensor]) -> list[str]:
    """Load the keys that fit; returns the others. A layer may decide itself about a missing key."""
    expected = model.state_dict()
    misshapen = {
        name: f"{name} is {tuple(state_dict[name].shape)}, expected {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if name in state_dict and state_dict[name].shape != tensor.shape
    }
    fitting = {name: state_dict[name] for name in expected if name in state_dict and name not in misshapen}
    missing, _ = model.load_state_dict(fitting, strict=False)
    kinds = {
        "missing": [name for name in missing if name not in misshapen],
        "unexpected": [
            name for name in state_dict if name not in expected and not name.endswith(_BATCH_COUNTER)
        ],
        "not floating point": [
            f"{name} is {state_dict[name].dtype}"
            for name, tensor in expected.items()
            if name in fitting and tensor.is_floating_point() and state_dict[name].dtype not in FLOATS
        ],
        "misshapen": list(misshapen.values()),
    }
    return [f"{len(names)} {kind}: {listed(names)}" for kind, names in kinds.items() if names]

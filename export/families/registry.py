"""The registry of families, and recognition of the family of a state dict."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from msdk_export.families.base import Family
from msdk_export.families.msd_kmamba import MSDKMambaFamily
from msdk_export.families.segmamba import SegMambaFamily
from msdk_export.families.shapes import Shapes
from msdk_export.wording import listed
from msdk_rt.errors import CheckpointError, shown

FAMILIES: tuple[Family, ...] = (
    MSDKMambaFamily(),
    SegMambaFamily(),
)


def family_named(name: object) -> Family:
    """The family of this name. Raises CheckpointError for a name that no family has."""
    for family in FAMILIES:
        if family.name == name:
            return family
    raise CheckpointError(f"unknown model family {shown(name)}: expected one of {_names()}")


def family_of(network: nn.Module) -> Family | None:
    """The family whose network this is; None for any other module, subclasses of a family's among them."""
    return next((family for family in FAMILIES if type(network) is family.network), None)


def recognise(state_dict: Mapping[str, Tensor]) -> str | None:
    """The family that most of the names speak for, None where none does."""
    votes = {family.name: family.votes(state_dict) for family in FAMILIES}
    name = max(votes, key=lambda name: votes[name])
    return name if votes[name] else None


def identify(description: Mapping[str, Any], state_dict: Mapping[str, Tensor]) -> tuple[str, dict[str, Any]]:
    """Family and config of the weights: from the description, and from the weights where it leaves them out.

    What no weights tell (Family.ambiguities, the directions of an MSDKMamba) is left out, for the family's
    default. So is any size whose tensors are missing.

    Raises CheckpointError when the family is neither given nor recognisable, or given and unknown, and when
    the config is no mapping.
    """
    name = description.get("family") or recognise(state_dict)
    if name is None:
        raise CheckpointError(
            f"the checkpoint does not say which network it holds, and its {len(state_dict)} keys "
            f"({listed(list(state_dict))}) are those of no known family ({_names()}): pass "
            "family= and config=, or build the network in PyTorch and export that"
        )
    family = family_named(name)
    config = description.get("config", {})
    if not isinstance(config, Mapping):
        raise CheckpointError(
            f"the checkpoint's config does not describe a {family.name} network: expected an object with its "
            f"sizes, got {config!r}"
        )
    return family.name, infer_config(family.name, state_dict) | dict(config)


def completed(description: Mapping[str, Any]) -> dict[str, Any]:
    """A description as it reads now, of one that an earlier msdk_rt wrote, with entries added since.

    For its own networks msdk_rt knows the value that a new entry had before it existed.
    """
    family = next((one for one in FAMILIES if one.name == description.get("family")), None)
    config = description.get("config")
    if family is None or not isinstance(config, dict):
        return dict(description)
    missing = {field.name for field in dataclasses.fields(family.config)} - config.keys()
    if not missing <= family.since.keys():
        return dict(description)
    return {**description, "config": {**config, **{entry: family.since[entry] for entry in missing}}}


def infer_config(name: str, state_dict: Mapping[str, Tensor]) -> dict[str, Any]:
    """The entries of the config of this family's network that its weights tell."""
    shapes = Shapes({key: tuple(tensor.shape) for key, tensor in state_dict.items()})
    entries = family_named(name).infer_config(shapes)
    return {entry: value for entry, value in entries.items() if value is not None}


def _names() -> str:
    return ", ".join(family.name for family in FAMILIES)

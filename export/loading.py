"""The network that export is given, as a module or as a checkpoint, and its description."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from msdk_export.adoption.given import Given
from msdk_export.checkpoints import build_model, describe_model, load_checkpoint
from msdk_export.description import ModelDescription, describe
from msdk_export.nnunet import is_results_folder, read_results, results_network
from msdk_export.readings import settled_by_reference
from msdk_export.samples import LabelMap, Sample
from msdk_rt.errors import InputError


def load_network(
    model: nn.Module | str | Path,
    given: Mapping[str, Any],
    weights: str | None = None,
    sample: Sample | None = None,
    reference: LabelMap | None = None,
    unverified: bool = False,
    results: Mapping[str, Any] | None = None,
) -> tuple[Given | nn.Module, ModelDescription]:
    """The module as it was given, or a checkpoint's network in evaluation mode, and its checked description.

    given: export's arguments about the network, None where one is not given. results: those about nnU-Net's
    results folder. Raises what export does.
    """
    given = {name: value for name, value in given.items() if value is not None}
    results = {name: value for name, value in (results or {}).items() if value is not None}
    if reference is not None and sample is None:
        raise InputError("reference is the label map of sample: pass sample= with it")
    if isinstance(model, nn.Module):
        if weights is not None:
            raise InputError(f"weights={weights!r} is for a checkpoint, a module has its own: leave it out")
        if results:
            raise InputError(
                f"{' and '.join(sorted(results))} are for a results folder of nnU-Net's, got a module"
            )
        entries = {"family": type(model).__name__, "config": {}} | given | describe_model(model)
        return Given(model, unverified), describe(entries)
    if is_results_folder(model):
        return _load_results(model, given, weights, reference, results, unverified)
    if results:
        raise InputError(
            f"{' and '.join(sorted(results))} are for a results folder of nnU-Net's, and {model} is none"
        )
    state_dict, stored = load_checkpoint(model, weights)
    entries = _merged(stored, given)
    if sample is not None and reference is not None:
        entries = settled_by_reference(entries, state_dict, sample, reference)
    network = build_model(entries, state_dict)
    entries |= describe_model(network)
    return network.cpu().float().eval().requires_grad_(False), describe(entries)


def _load_results(
    folder: str | Path,
    given: Mapping[str, Any],
    weights: str | None,
    reference: LabelMap | None,
    options: Mapping[str, Any],
    unverified: bool,
) -> tuple[Given | nn.Module, ModelDescription]:
    """The network of nnU-Net's results folder. options: folds, network."""
    if given or reference is not None:
        names = sorted([*given, *(["reference"] if reference is not None else [])])
        raise InputError(
            f"{folder} is a results folder of nnU-Net's, whose plans say {', '.join(names)}: leave it out"
        )
    found = read_results(folder, options.get("folds"), weights)
    source, entries = results_network(found, options.get("network"), unverified)
    return source, describe(entries)


def _merged(stored: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """The checkpoint's description, overridden; its config entry by entry where the family is the same."""
    merged = stored | given
    same = merged.get("family") == stored.get("family")
    if same and isinstance(stored.get("config"), dict) and isinstance(given.get("config"), dict):
        merged["config"] = stored["config"] | given["config"]
    return merged

"""A results folder's network, one for all folds, and the description of the model."""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from msdk_export.adoption.given import Given
from msdk_export.checkpoints.model import load_weights
from msdk_export.nnunet.folder import Results
from msdk_export.nnunet.networks import build_network, plans_network
from msdk_export.nnunet.recipe import description_of
from msdk_rt.errors import CheckpointError

FROM_PLANS = "plans"


class Folds(nn.Module):
    """The logits of several networks, (B, folds * K, ...), which the runtime averages as nnU-Net does."""

    def __init__(self, networks: list[nn.Module]):
        super().__init__()
        self.folds = nn.ModuleList(networks)

    def forward(self, image: Tensor) -> Tensor:
        return torch.cat([network(image) for network in self.folds], dim=1)


class Slices(nn.Module):
    """A network of slices (B, C, H, W) as one of volumes that are one voxel thick, (B, C, 1, H, W)."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.network(image.squeeze(2))
        return logits.unsqueeze(2)


def results_network(
    results: Results, network: nn.Module | str | None = None, unverified: bool = False
) -> tuple[Given | nn.Module, dict[str, Any]]:
    """The network of all folds in evaluation mode, and the entries of its manifest.

    network: the trainer's own module, or "plans" for the one that the plans describe. Default: by the
    trainer's name. Raises CheckpointError where the weights are not exactly the network's.
    """
    entries = description_of(results)
    channels, classes = len(entries["channels"]), len(entries["labels"])
    if network is None:
        one = build_network(results, channels, classes)
    elif isinstance(network, nn.Module):
        one = _without_deep_supervision(network)
    elif network == FROM_PLANS:
        one = plans_network(results, channels, classes)
    else:
        raise CheckpointError(f"network must be a module or {FROM_PLANS!r}, got {network!r}")
    networks = []
    for fold, weights in zip(results.folds, results.weights, strict=True):
        copied = copy.deepcopy(one) if len(results.folds) > 1 else one
        _load(copied, weights, results, fold)
        networks.append(copied)
    whole = networks[0] if len(networks) == 1 else Folds(networks)
    if len(results.configuration["patch_size"]) == 2:
        whole = Slices(whole)
    described = {
        "family": type(one).__name__,
        "config": {
            "trainer": results.trainer,
            "configuration": results.name,
            "dataset": results.plans.get("dataset_name"),
            "plans": results.plans.get("plans_name"),
            "folds": list(results.folds),
        },
    }
    if isinstance(network, nn.Module):
        return Given(whole, unverified), described | entries
    return whole.cpu().float().eval().requires_grad_(False), described | entries


def _load(network: nn.Module, weights: Mapping[str, Tensor], results: Results, fold: int | str) -> None:
    if problems := load_weights(network, weights):
        raise CheckpointError(
            f"{results.folder}: the weights of fold_{fold} do not fit the network {type(network).__name__} "
            f"({'; '.join(problems)}): give the plans and the trainer's network that belong to them"
        )


def _without_deep_supervision(network: nn.Module) -> nn.Module:
    """A copy that returns the logits at full resolution alone, as nnU-Net's own networks do in inference."""
    copied = copy.deepcopy(network)
    for part in (copied, getattr(copied, "decoder", None)):
        if isinstance(getattr(part, "deep_supervision", None), bool):
            part.deep_supervision = False  # type: ignore[union-attr]
    return copied

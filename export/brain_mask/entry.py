"""A trained brain mask as a manifest's entry."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from msdk_export.brain_mask.network import Block, BrainMaskNet
from msdk_rt.inference.brain_mask.weights import packed


def entry_of(
    network: BrainMaskNet, spacing: float, threshold: float, edge: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The manifest's brain_mask of a network that was trained at a spacing in mm.

    threshold: the probability above which a voxel is brain. edge: how the mask's edge then moves, if it does.
    """
    tensors = [tensor for block in network.blocks() for tensor in _tensors(block)]
    tensors += list(network.head.parameters())
    widths = list(network.widths)
    weights = packed([tensor.detach().numpy() for tensor in tensors])
    entry = {"spacing": spacing, "threshold": threshold, "widths": widths, "weights": weights}
    return entry | ({"edge": dict(edge)} if edge else {})


def network_of(entry: dict[str, Any]) -> BrainMaskNet:
    """The network of a manifest's entry, for evaluation in PyTorch."""
    from msdk_rt.inference.brain_mask.weights import weights_of

    weights = weights_of(entry)
    network = BrainMaskNet(tuple(entry["widths"])).eval()
    theirs_in_order = [block for level in weights.down for block in level] + list(weights.up)
    pairs = zip(network.blocks(), theirs_in_order, strict=True)
    with torch.no_grad():
        for ours, theirs in pairs:
            outputs, inputs = ours.conv.weight.shape[:2]
            kernel = torch.from_numpy(theirs.kernel).reshape(3, 3, outputs, 3, inputs)
            ours.conv.weight.copy_(kernel.permute(2, 4, 0, 1, 3))
            ours.norm.weight.copy_(torch.from_numpy(theirs.scale[:, 0].copy()))
            ours.norm.bias.copy_(torch.from_numpy(theirs.shift[:, 0].copy()))
        kernel, bias = network.head.parameters()
        kernel.copy_(torch.from_numpy(weights.head.copy()).view_as(kernel))
        bias.fill_(weights.bias)
    return network


def _tensors(block: Block) -> tuple[Tensor, Tensor, Tensor]:
    return block.conv.weight, block.norm.weight, block.norm.bias

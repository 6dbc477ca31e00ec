"""VMamba's SS2D blocks: a projection, a depthwise convolution and four scans of a feature map.

The code of MzeroMiko/VMamba computes different things with the same parameters, as attributes tell it: the
layout (channel_first), what is done with z (disable_z, disable_z_act), the order of the tokens (arguments
bound in forward_core) and where out_norm sees its channels (out_norm_shape). Early versions and VM-UNet's
copy have none of these attributes, and one meaning. Its newest code has x_proj.weight (4(R + 2N), D) and
dt_projs.weight (4D, R) for what was x_proj_weight (4, R + 2N, D) and dt_projs_weight (4, D, R).
"""

import torch
from torch import Tensor, nn

from msdk_export.adoption.agreement import check_agreement
from msdk_export.adoption.parts import (
    Shape,
    check_activation,
    check_contents,
    check_hooks,
    only_none,
    own_names,
    parameters_of,
    refuse,
    take_over,
)
from msdk_export.adoption.scan_order import check_scan_order
from msdk_export.layers import CrossScan

_PARTS = ("in_proj", "act", "conv2d", "out_norm", "out_act", "out_proj")
_GROUPED = ("x_proj", "dt_projs")


class CrossScanBlock(nn.Module):
    """SS2D with its own calling convention: (B, H, W, C), or (B, C, H, W) where channels_first.

    The block's own layers run as they are; only its scan is another.
    """

    in_proj: nn.Module
    act: nn.Module
    conv2d: nn.Module
    out_norm: nn.Module
    out_act: nn.Module
    out_proj: nn.Module

    def __init__(
        self,
        label: str,
        block: nn.Module,
        scan: CrossScan,
        gated: bool,
        norm_first: bool,
        activated: bool = True,
    ):
        super().__init__()
        self.label = label
        self.scan = scan
        for name in _PARTS:
            part = getattr(block, name, None)
            self.add_module(name, nn.Identity() if part is None else part)
        self.channels_first = _flag(block, "channel_first")
        self.gated = gated
        self.gate_activated = not _flag(block, "disable_z_act")
        self.norm_first = norm_first
        self.activated = activated

    def forward(self, x: Tensor, *arguments: object, **named: object) -> Tensor:
        only_none(self.label, *arguments, **named)
        x = self.in_proj(x)
        if self.gated:
            x, z = x.chunk(2, dim=1 if self.channels_first else -1)
        if not self.channels_first:
            x = x.permute(0, 3, 1, 2)
        x = self.conv2d(x)
        y = self.scan(self.act(x) if self.activated else x)
        y = self.out_norm(y) if self.norm_first else self.out_norm(y.permute(0, 2, 3, 1))
        if self.norm_first != self.channels_first:
            y = y.permute(0, 2, 3, 1) if self.norm_first else y.permute(0, 3, 1, 2)
        y = self.out_act(y)
        if self.gated:
            y = y * (self.act(z) if self.gate_activated else z)
        projected: Tensor = self.out_proj(y)
        return projected


def looks_like_ss2d(module: nn.Module) -> bool:
    """Whether the module itself, not a part of it, is an SS2D block or meant to be one."""
    names = own_names(module)
    return not isinstance(module, CrossScan) and bool({"A_logs", "x_proj_weight"} & names)


def adopt_ss2d(block: nn.Module, label: str) -> CrossScanBlock:
    """The block on the msdk ops, with the block's own layers and parameters.

    Raises ExportError as msdk_export.adoption.adopt says.
    """
    adopted = published_ss2d(block, label)
    check_hooks(block, label)
    _check_conv(block, label)
    check_scan_order(block, label)
    model = block.get_parameter("in_proj.weight").shape[1]
    check_agreement(block, adopted, label, (1, model, 3, 4) if adopted.channels_first else (1, 3, 4, model))
    return adopted


def published_ss2d(
    block: nn.Module, label: str, activated: bool = True, strict: bool = True
) -> CrossScanBlock:
    """The published block of these parameters and attributes: it reads rows and columns, both ways.

    activated: whether the activation comes before the scan. The block's own code and its order of the tokens
    are not looked at; strict is as in published_mamba. Raises ExportError as msdk_export.adoption.adopt says.
    """
    parameters = _in_stacks(block)
    expected, inner, states, rank = _shapes(parameters)
    for name in _GROUPED:
        if (weight := parameters.get(f"{name}.weight")) is not None:
            expected[f"{name}.weight"] = tuple(weight.shape)  # as its stack, which is checked below
            del expected[f"{name}_weight"]
    check_contents(block, label, "an SS2D", expected, {}, _PARTS, strict)
    for name in ("in_proj", "act", "out_norm", "out_proj"):
        if not isinstance(getattr(block, name, None), nn.Module):
            raise refuse(label, f"it has no {name}", "only VMamba's published block is known")
    if strict:
        check_activation(block, label)

    with torch.device("meta"):
        scan = CrossScan(inner, states, rank)
    for name, parameter in scan.named_parameters():
        if parameters[name].shape != parameter.shape:
            raise refuse(
                label,
                f"its {name} is {tuple(parameters[name].shape)} in four",
                f"expected {tuple(parameter.shape)}",
            )
    take_over(scan, parameters)
    gated, norm_first = _gated(block, label, inner), _norm_first(block, label)
    adopted = CrossScanBlock(label, block, scan, gated, norm_first, activated)
    return adopted.train(block.training)


def _in_stacks(block: nn.Module) -> dict[str, nn.Parameter]:
    """The block's parameters, and the newest names' weights under the older names too:

    views, four scans first.
    """
    parameters = parameters_of(block)
    for name in _GROUPED:
        weight = parameters.get(f"{name}.weight")
        if weight is not None and weight.dim() >= 2 and weight.shape[0] % 4 == 0:
            stacked = weight.detach().flatten(1).unflatten(0, (4, -1))
            parameters[f"{name}_weight"] = nn.Parameter(stacked, requires_grad=False)
    return parameters


def _shapes(parameters: dict[str, nn.Parameter]) -> tuple[dict[str, Shape], int, int, int]:
    """The scan parameters' names and shapes, and D, N and R."""
    weight, decay = parameters.get("dt_projs_weight"), parameters.get("A_logs")
    inner, rank = weight.shape[1:] if weight is not None and weight.dim() == 3 else (0, 0)
    states = decay.shape[1] if decay is not None and decay.dim() == 2 else 0
    shapes: dict[str, Shape] = {
        "x_proj_weight": (4, rank + 2 * states, inner),
        "dt_projs_weight": (4, inner, rank),
        "dt_projs_bias": (4, inner),
        "A_logs": (4 * inner, states),
        "Ds": (4 * inner,),
    }
    return shapes, inner, states, rank


def _flag(block: nn.Module, name: str) -> bool:
    return bool(getattr(block, name, False))


def _check_conv(block: nn.Module, label: str) -> None:
    """Without conv2d the block must say that it has none."""
    if getattr(block, "conv2d", None) is None and getattr(block, "d_conv", 3) > 1:
        raise refuse(label, "it has no conv2d, but d_conv does not say so", "set its attribute d_conv to 1")


def _gated(block: nn.Module, label: str, inner: int) -> bool:
    """Whether in_proj gives z beside x: D rows or 2D, and disable_z must agree where it is there."""
    rows = block.get_parameter("in_proj.weight").shape[0]
    gated = rows == 2 * inner
    if rows not in (inner, 2 * inner) or getattr(block, "disable_z", not gated) == gated:
        raise refuse(
            label,
            f"in_proj has {rows} rows for {inner} channels and disable_z is "
            f"{getattr(block, 'disable_z', 'absent')}",
            f"expected {inner} rows without z, {2 * inner} with it",
        )
    return gated


def _norm_first(block: nn.Module, label: str) -> bool:
    """Whether out_norm sees (B, D, H, W) rather than (B, H, W, D)."""
    if hasattr(block, "out_norm_shape"):
        return bool(block.out_norm_shape == "v1")
    if not hasattr(block, "channel_first") and type(block.out_norm) not in (nn.LayerNorm, nn.Identity):
        raise refuse(
            label,
            f"its out_norm is {type(block.out_norm).__name__} and no attribute says where its channels are",
            "set out_norm_shape to 'v0' for (B, H, W, C) or 'v1' for (B, C, H, W)",
        )
    return _flag(block, "channel_first")

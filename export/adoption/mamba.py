"""Blocks with mamba_ssm's parameter names: plain, Vim's v1 and v2, SegMamba's v3."""

from typing import Any

import torch
from torch import Tensor, nn

from msdk_export.adoption.agreement import check_agreement
from msdk_export.adoption.parts import (
    Shape,
    check_activation,
    check_contents,
    check_hooks,
    check_plain,
    only_none,
    own_names,
    parameters_of,
    refuse,
    take_over,
)
from msdk_export.layers import BiMamba, SharedBiMamba
from msdk_rt.errors import ExportError

_DECAYS = {"A_log", "A_b_log", "A_s_log"}
_SET = ("conv1d{}", "x_proj{}", "dt_proj{}", "D{}")
_DIVIDE = ("if_divide_out", "if_devide_out")


class MambaTokens(nn.Module):
    """BiMamba with mamba_ssm's calling convention: tokens (B, L, C) -> (B, L, C).

    A block whose out_proj is nn.Identity gives (B, L, D).
    """

    gamma: nn.Parameter | None

    def __init__(self, label: str, mamba: BiMamba, gamma: nn.Parameter | None):
        super().__init__()
        self.label = label
        self.mamba = mamba
        self.projects = mamba.out_proj is not None
        self.register_parameter("gamma", gamma)

    def forward(self, hidden_states: Tensor, *arguments: object, **named: object) -> Tensor:
        only_none(self.label, *arguments, **named)
        tokens = hidden_states.transpose(1, 2)
        out: Tensor = (self.mamba(tokens) if self.projects else self.mamba.scanned(tokens)).transpose(1, 2)
        return out if self.gamma is None else out * self.gamma


def looks_like_mamba(module: nn.Module) -> bool:
    """Whether the module itself, not a part of it, is a Mamba block or meant to be one."""
    names = own_names(module)
    return not isinstance(module, BiMamba) and (bool(_DECAYS & names) or {"x_proj", "dt_proj"} <= names)


def adopt_mamba(block: nn.Module, label: str, unsaid: list[str]) -> MambaTokens:
    """The block on the msdk ops, with the block's own parameters.

    A v2 block that does not say whether it halves the sum of its directions adds its label to `unsaid`.
    Raises ExportError as msdk_export.adoption.adopt says.
    """
    adopted = published_mamba(block, label, unsaid)
    check_hooks(block, label)
    slices: Any = block.nslices if _variant(block)[0] == "v3" else 2
    check_agreement(block, adopted, label, (1, 3 * slices, _Sizes(block, label).model))
    return adopted


def published_mamba(
    block: nn.Module, label: str, unsaid: list[str], forward_alone: bool = False, strict: bool = True
) -> MambaTokens:
    """What the published block of these parameters and attributes computes, with the block's own parameters.

    forward_alone: of its directions the first, as Vim's and SegMamba's code does with use_fast_path=False.
    The block's own code is not looked at. strict: neither may anything about the block say that it computes
    something else: an attribute that names an activation, hooks of its parts. Raises ExportError as
    msdk_export.adoption.adopt says.
    """
    _refuse_mamba2(block, label)
    variant, suffixes = _variant(block)
    sizes = _Sizes(block, label)
    bias, conv_bias = _biases(block, suffixes)
    shared = variant == "v1"
    expected = sizes.shapes(suffixes, bias, conv_bias) | ({"A_b_log": sizes.A_log} if shared else {})
    projects = not isinstance(block._modules.get("out_proj"), nn.Identity)
    if not projects:
        expected = {name: shape for name, shape in expected.items() if not name.startswith("out_proj.")}
    check_contents(block, label, f"a Mamba ({variant})", expected, {"gamma": (sizes.model,)}, strict=strict)
    if strict:
        _check_layers(block, label, suffixes, projects)
        check_activation(block, label)
        _check_type(block, label, variant)

    with torch.device("meta"):
        options: dict[str, Any] = {
            "d_state": sizes.states,
            "d_conv": sizes.width,
            "expand": sizes.inner / sizes.model,
            "dt_rank": sizes.rank,
            "bias": bias,
            "conv_bias": conv_bias,
        }
        if forward_alone:
            mamba = BiMamba(sizes.model, **options, directions="forward")
        elif shared:
            mamba = SharedBiMamba(sizes.model, **options)
        else:
            scale = _scale(block, label, unsaid) if variant == "v2" else 1.0
            directions = _directions(block, label, suffixes)
            mamba = BiMamba(sizes.model, **options, directions=directions, scale=scale)
    if not projects:
        mamba.register_module("out_proj", None)
    take_over(mamba, parameters_of(block))
    return MambaTokens(label, mamba, _gamma(block, label)).train(block.training)


class _Sizes:
    """C, D, N, R and W of a block, read from the parameters that show them most directly."""

    def __init__(self, block: nn.Module, label: str):
        parameters = parameters_of(block)

        def side(name: str, axis: int, axes: int) -> int:
            parameter = parameters.get(name)
            return parameter.shape[axis] if parameter is not None and parameter.dim() == axes else 0

        self.model = side("in_proj.weight", 1, 2)
        self.inner, self.states = side("A_log", 0, 2), side("A_log", 1, 2)
        self.rank = side("dt_proj.weight", 1, 2)
        self.width = side("conv1d.weight", 2, 3)
        self.A_log: Shape = (self.inner, self.states)

    def shapes(self, suffixes: tuple[str, ...], bias: bool, conv_bias: bool) -> dict[str, Shape]:
        """Every parameter's name and shape."""
        inner, rows = self.inner, self.rank + 2 * self.states
        shapes: dict[str, Shape] = {"in_proj.weight": (2 * inner, self.model)}
        shapes |= {"in_proj.bias": (2 * inner,)} if bias else {}
        for suffix in suffixes:
            shapes[f"conv1d{suffix}.weight"] = (inner, 1, self.width)
            shapes |= {f"conv1d{suffix}.bias": (inner,)} if conv_bias else {}
            shapes[f"x_proj{suffix}.weight"] = (rows, inner)
            shapes[f"dt_proj{suffix}.weight"] = (inner, self.rank)
            shapes[f"dt_proj{suffix}.bias"] = (inner,)
            shapes[f"A{suffix}_log"] = self.A_log
            shapes[f"D{suffix}"] = (inner,)
        shapes["out_proj.weight"] = (self.model, inner)
        return shapes | ({"out_proj.bias": (self.model,)} if bias else {})


def _variant(block: nn.Module) -> tuple[str, tuple[str, ...]]:
    """The block's kind and its sets of scan parameters, from the names it has of its own."""
    names = own_names(block)
    backward, slices = ({part.format(suffix) for part in _SET} & names for suffix in ("_b", "_s"))
    if slices or "A_s_log" in names:
        return "v3", ("", "_b", "_s")
    if backward:
        return "v2", ("", "_b")
    return ("v1" if "A_b_log" in names else "plain"), ("",)


def _biases(block: nn.Module, suffixes: tuple[str, ...]) -> tuple[bool, bool]:
    """Whether the projections and whether the convolutions have biases, if any of them has."""
    names = parameters_of(block)
    projections = "in_proj.bias" in names or "out_proj.bias" in names
    return projections, any(f"conv1d{suffix}.bias" in names for suffix in suffixes)


def _refuse_mamba2(block: nn.Module, label: str) -> None:
    decay = block._parameters.get("A_log")
    if decay is not None and decay.dim() == 1:
        raise ExportError(
            f"{label} ({type(block).__name__}) has one decay per head (A_log of shape {tuple(decay.shape)}): "
            "that is Mamba-2's or a related recurrence, not the selective scan of Mamba that the msdk ops "
            "compute; export a network with Mamba-1 blocks"
        )


def _check_layers(block: nn.Module, label: str, suffixes: tuple[str, ...], projects: bool) -> None:
    outer = ("in_proj", "out_proj") if projects else ("in_proj",)
    for name in (*outer, *(f"{stem}{s}" for s in suffixes for stem in ("x_proj", "dt_proj"))):
        check_plain(block.get_submodule(name), nn.Linear, f"{label}.{name}")
    for suffix in suffixes:
        name = f"conv1d{suffix}"
        conv = block.get_submodule(name)
        check_plain(conv, nn.Conv1d, f"{label}.{name}")
        assert isinstance(conv, nn.Conv1d)
        found = (conv.stride, conv.dilation, conv.padding, conv.padding_mode)
        causal = ((1,), (1,), (conv.kernel_size[0] - 1,), "zeros")
        if found != causal:
            raise refuse(
                f"{label}.{name}",
                f"its stride, dilation, padding and padding mode are {found}",
                f"a causal convolution of this width has {causal}",
            )


def _check_type(block: nn.Module, label: str, variant: str) -> None:
    """bimamba_type, where there is one, must be what the parameters say."""
    said = getattr(block, "bimamba_type", None)
    named = "plain" if said in (None, "", "none", "None") else said
    if said is not None and named != variant:
        raise refuse(
            label,
            f"its bimamba_type is {said!r}, but its parameters are those of a {variant} block",
            "set the attribute to what the network was trained with, or drop the parameters it does not use",
        )


def _scale(block: nn.Module, label: str, unsaid: list[str]) -> float:
    """0.5 where Vim's attribute is set, under either spelling; 1 where it is not or is absent."""
    said = {bool(getattr(block, name)) for name in _DIVIDE if hasattr(block, name)}
    if len(said) > 1:
        raise refuse(label, f"its attributes {' and '.join(_DIVIDE)} disagree", "remove one of them")
    if not said:
        unsaid.append(label)
    return 0.5 if True in said else 1.0


def _directions(block: nn.Module, label: str, suffixes: tuple[str, ...]) -> str:
    words = {"": "forward", "_b": "backward"}
    if "_s" in suffixes:
        slices = getattr(block, "nslices", None)
        if not isinstance(slices, int) or slices < 2:
            raise refuse(
                label,
                f"its inter-slice scan needs the attribute nslices, a whole number above 1, got {slices!r}",
                "set it to the number of slices of the feature map the block sees",
            )
        words["_s"] = f"slices:{slices}"
    return ",".join(words[suffix] for suffix in suffixes)


def _gamma(block: nn.Module, label: str) -> nn.Parameter | None:
    """Vim's layer scale: applied where init_layer_scale is set."""
    gamma = block._parameters.get("gamma")
    if (gamma is None) != (getattr(block, "init_layer_scale", None) is None):
        raise refuse(
            label,
            f"its attribute init_layer_scale and its parameter gamma must come together, got "
            f"{getattr(block, 'init_layer_scale', None)!r} and {'no gamma' if gamma is None else 'gamma'}",
            "set the attribute as the network was trained, or drop gamma",
        )
    return gamma

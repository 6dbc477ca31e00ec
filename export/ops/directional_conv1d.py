"""msdk::DirectionalConv1d: a causal depthwise convolution and SiLU along each direction's path."""

from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor

from msdk_export.ops import text
from msdk_export.ops.causal_conv import conv_backward, conv_forward
from msdk_export.ops.checks import check_rank, check_shape
from msdk_export.ops.directions import Direction, check_slices, parse_directions
from msdk_export.ops.spec import STRING, OpSpec


@torch.library.custom_op("msdk::directional_conv1d", mutates_args=())
def directional_conv1d(x: Tensor, weight: Tensor, bias: Tensor, directions: str) -> Tensor:
    """Causal depthwise convolution and SiLU along each direction's path.

    x (B,D,L), weight (K,D,W), bias (K,D) -> u (B,K,D,L). `directions` holds K comma-separated
    directions. Tokens before the start of a path count as zero; W may exceed L.
    Raises InputError when shapes and directions do not fit.
    """
    paths = _check(x, weight, bias, directions)
    return conv_forward(x, weight, bias, paths)


@directional_conv1d.register_fake
def _(x: Tensor, weight: Tensor, bias: Tensor, directions: str) -> Tensor:
    paths = _check(x, weight, bias, directions)
    return x.new_empty(x.shape[0], len(paths), x.shape[1], x.shape[2])


def _backward(ctx: Any, du: Tensor) -> tuple[Tensor | None, ...]:
    x, weight, bias = ctx.saved_tensors
    return (*conv_backward(du, x, weight, bias, parse_directions(ctx.directions)), None)


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *tensors, ctx.directions = inputs
    ctx.save_for_backward(*tensors)


directional_conv1d.register_autograd(_backward, setup_context=_setup)


def _check(x: Tensor, weight: Tensor, bias: Tensor, directions: str) -> tuple[Direction, ...]:
    paths = parse_directions(directions)
    check_rank(x=(x, 3), weight=(weight, 3), bias=(bias, 2))
    _, channels, length = x.shape
    width = weight.shape[2]
    check_shape("weight", weight, (len(paths), channels, width), "(K, D, W)")
    check_shape("bias", bias, (len(paths), channels), "(K, D)")
    check_slices(paths, length)
    return paths


def _body(directions: str, given: Collection[str]) -> str:
    paths = parse_directions(directions)
    return f"""
    <directions: string = "{directions}", {text.PLUGIN}> (x, weight, bias) => (u)
    {{
        {text.AXES}
        x32 = Cast <to = 1> (x)
        x_tokens = Unsqueeze (x32, axis1)
        {text.steps_of(["x_tokens"] * len(paths), "x_step", paths)}
        x_steps = Concat <axis = 1> ({text.names("x_step", paths)})

        length = Shape <start = 2> (x)
        taps = Shape <start = 2> (weight)
        before = Sub (taps, axis1)
        padding = Concat <axis = 0> (before, axis0)
        padded = Pad (x_steps, padding, , axis3)
        {text.counting("tap", "taps")}
        tap_first = Transpose <perm = [2, 0, 1]> (weight)
        tap_weights = Unsqueeze (tap_first, axis3)
        bias_column = Unsqueeze (bias, axis2)
        x_shape = Shape (x_steps)
        bias_everywhere = Expand (bias_column, x_shape)
        total = Scan <num_scan_inputs = 2, body = add_tap
            (float[b, k, d, l] sum, float[k, d, one] tap_weight, int64 first) => (float[b, k, d, l] sum_out)
            {{
                begin = Unsqueeze (first, axis0)
                end = Add (begin, length)
                window = Slice (padded, begin, end, axis3)
                weighted = Mul (tap_weight, window)
                sum_out = Add (sum, weighted)
            }}> (bias_everywhere, tap_weights, tap)
        {text.silu("total", "activated")}
        {text.split("activated", "activated_step", paths)}
        {text.tokens_of("activated_step", "u_token", paths)}
        u32 = Concat <axis = 1> ({text.names("u_token", paths)})
        u = CastLike (u32, x)
    }}"""


SPEC = OpSpec(
    name="DirectionalConv1d",
    inputs=["x", "weight:float", "bias:float"],
    attributes={"directions": STRING},
    body=_body,
    selector="directions",
    torch_op=torch.ops.msdk.directional_conv1d.default,
    translate=lambda x, weight, bias, directions: ([x, weight, bias], {"directions": directions}),
)

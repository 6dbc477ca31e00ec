"""msdk::KanLinear: SiLU plus cubic B-splines of every input channel."""

from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor

from msdk_export.ops import text
from msdk_export.ops.checks import check_rank, check_shape
from msdk_export.ops.kan_spline import kan_backward, kan_forward
from msdk_export.ops.spec import FLOAT, OpSpec
from msdk_rt.errors import InputError


@torch.library.custom_op("msdk::kan_linear", mutates_args=())
def kan_linear(
    x: Tensor, base_weight: Tensor, spline_weight: Tensor, grid_min: float, grid_max: float
) -> Tensor:
    """A Kolmogorov-Arnold linear layer: SiLU plus cubic B-splines of every input channel.

    x (B,C,L), base_weight (O,C), spline_weight (O,C,G), already multiplied by its scaler -> y (B,O,L). The
    G bases lie on uniform knots with G - 3 intervals in [grid_min, grid_max] and three more on each side,
    and are zero outside them.
    Raises InputError when shapes or the grid do not fit.
    Source: efficient-kan's KANLinear, as used by U-KAN (arXiv 2406.02918).
    """
    _check(x, base_weight, spline_weight, grid_min, grid_max)
    return kan_forward(x, base_weight, spline_weight, grid_min, grid_max)


@kan_linear.register_fake
def _(x: Tensor, base_weight: Tensor, spline_weight: Tensor, grid_min: float, grid_max: float) -> Tensor:
    _check(x, base_weight, spline_weight, grid_min, grid_max)
    return x.new_empty(x.shape[0], base_weight.shape[0], x.shape[2])


@torch.library.custom_op("msdk::kan_linear_backward", mutates_args=())
def _kan_gradients(
    dy: Tensor, x: Tensor, base_weight: Tensor, spline_weight: Tensor, grid_min: float, grid_max: float
) -> tuple[Tensor, Tensor, Tensor]:
    return kan_backward(dy, x, base_weight, spline_weight, grid_min, grid_max)


@_kan_gradients.register_fake
def _(
    dy: Tensor, x: Tensor, base_weight: Tensor, spline_weight: Tensor, grid_min: float, grid_max: float
) -> tuple[Tensor, ...]:
    return tuple(t.new_empty(t.shape) for t in (x, base_weight, spline_weight))


def _backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
    return (*_kan_gradients(dy, *ctx.saved_tensors, *ctx.grid), None, None)


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *tensors, grid_min, grid_max = inputs
    ctx.grid = grid_min, grid_max
    ctx.save_for_backward(*tensors)


kan_linear.register_autograd(_backward, setup_context=_setup)


def _check(x: Tensor, base_weight: Tensor, spline_weight: Tensor, grid_min: float, grid_max: float) -> None:
    check_rank(x=(x, 3), base_weight=(base_weight, 2), spline_weight=(spline_weight, 3))
    out, channels, bases = base_weight.shape[0], x.shape[1], spline_weight.shape[2]
    check_shape("base_weight", base_weight, (out, channels), "(O, C)")
    check_shape("spline_weight", spline_weight, (out, channels, bases), "(O, C, G)")
    if bases < 4:
        raise InputError(f"spline_weight needs at least 4 cubic bases (G), got {bases}")
    if not grid_min < grid_max:
        raise InputError(f"expected grid_min < grid_max, got {grid_min} and {grid_max}")


def _body(selected: str, given: Collection[str]) -> str:
    return f"""
    <grid_min: float = -1.0, grid_max: float = 1.0, {text.PLUGIN}> (x, base_weight, spline_weight) => (y)
    {{
        {text.AXES}
        x32 = Cast <to = 1> (x)
        {text.silu("x32", "activated")}
        base = MatMul (base_weight, activated)

        bases = Shape <start = 2> (spline_weight)
        intervals_int = Sub (bases, axis3)
        intervals = Cast <to = 1> (intervals_int)
        low = Constant <value_float: float = @grid_min> ()
        high = Constant <value_float: float = @grid_max> ()
        extent = Sub (high, low)
        per_knot = Div (intervals, extent)
        above_low = Sub (x32, low)
        in_knots = Mul (above_low, per_knot)
        {text.counting("basis", "bases")}
        basis_weights = Transpose <perm = [2, 0, 1]> (spline_weight)
        one = Constant <value_float = 1.0> ()
        two = Constant <value_float = 2.0> ()
        four = Constant <value_float = 4.0> ()
        six = Constant <value_float = 6.0> ()
        y32 = Scan <num_scan_inputs = 2, body = add_basis
            (float[b, o, l] sum, float[o, c] basis_weight, int64 g) => (float[b, o, l] sum_out)
            {{
                index = Cast <to = 1> (g)
                centre = Sub (index, one)
                offset = Sub (in_knots, centre)
                w = Abs (offset)
                wide = Sub (two, w)
                wide_positive = Relu (wide)
                wide_square = Mul (wide_positive, wide_positive)
                wide_cube = Mul (wide_square, wide_positive)
                narrow = Sub (one, w)
                narrow_positive = Relu (narrow)
                narrow_square = Mul (narrow_positive, narrow_positive)
                narrow_cube = Mul (narrow_square, narrow_positive)
                correction = Mul (narrow_cube, four)
                spline_times_six = Sub (wide_cube, correction)
                weight = Div (basis_weight, six)
                weighted = MatMul (weight, spline_times_six)
                sum_out = Add (sum, weighted)
            }}> (base, basis_weights, basis)
        y = CastLike (y32, x)
    }}"""


def _translate(
    x: Any, base_weight: Any, spline_weight: Any, grid_min: float, grid_max: float
) -> tuple[list[Any], dict[str, Any]]:
    return [x, base_weight, spline_weight], {"grid_min": grid_min, "grid_max": grid_max}


SPEC = OpSpec(
    name="KanLinear",
    inputs=["x", "base_weight:float", "spline_weight:float"],
    attributes={"grid_min": FLOAT, "grid_max": FLOAT},
    halved=["base_weight", "spline_weight"],
    body=_body,
    torch_op=torch.ops.msdk.kan_linear.default,
    translate=_translate,
)

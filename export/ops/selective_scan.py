"""msdk::BidirectionalSelectiveScan: directed selective scans over the same tokens, summed and gated."""

from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor

from msdk_export.ops import text
from msdk_export.ops.checks import check_rank, check_shape
from msdk_export.ops.directions import Direction, check_slices, parse_directions
from msdk_export.ops.scan_segments import ScanInputs, scan_backward, scan_forward
from msdk_export.ops.spec import FLOAT, STRING, OpSpec


@torch.library.custom_op("msdk::bidirectional_selective_scan", mutates_args=())
def bidirectional_selective_scan(
    u: Tensor,
    x_dbl: Tensor,
    dt_weight: Tensor,
    dt_bias: Tensor,
    A: Tensor,
    D_skip: Tensor,
    z: Tensor | None,
    directions: str,
    scale: float,
) -> Tensor:
    """K directed selective scans over the same tokens, summed and gated.

    u (B,K,D,L), x_dbl (B,K,R+2N,L) with rows dt (R), B (N), C (N), dt_weight (K,D,R), dt_bias (K,D),
    A = -exp(A_log) (K,D,N), D_skip (K,D), z (B,D,L) or None -> y (B,D,L).

        delta = softplus(dt_weight @ dt + dt_bias)
        h_t   = exp(delta_t * A) * h_{t-1} + delta_t * B_t * u_t
        y     = scale * SiLU(z) * sum_k (C_t . h_t + D_skip * u_t)

    Raises InputError when shapes and directions do not fit.
    Source: Gu and Dao, Mamba (arXiv 2312.00752); two directions after Zhu et al., Vim (arXiv 2401.09417).
    """
    inputs = ScanInputs(u, x_dbl, dt_weight, dt_bias, A, D_skip, z)
    return scan_forward(inputs, check_scan(inputs, directions), scale)


@bidirectional_selective_scan.register_fake
def _(u: Tensor, *arguments: Any) -> Tensor:
    *tensors, directions, _scale = arguments
    check_scan(ScanInputs(u, *tensors), directions)
    return u.new_empty(u.shape[0], u.shape[2], u.shape[3])


@torch.library.custom_op("msdk::bidirectional_selective_scan_backward", mutates_args=())
def _scan_gradients(
    dy: Tensor,
    u: Tensor,
    x_dbl: Tensor,
    dt_weight: Tensor,
    dt_bias: Tensor,
    A: Tensor,
    D_skip: Tensor,
    z: Tensor | None,
    directions: str,
    scale: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    inputs = ScanInputs(u, x_dbl, dt_weight, dt_bias, A, D_skip, z)
    return scan_backward(dy, inputs, parse_directions(directions), scale)


@_scan_gradients.register_fake
def _(dy: Tensor, *arguments: Any) -> tuple[Tensor, ...]:
    *tensors, z, _directions, _scale = arguments
    inputs = (*tensors, dy.new_empty(0) if z is None else z)
    return tuple(t.new_empty(t.shape) for t in inputs)


def _backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
    *tensors, z = ctx.saved_tensors
    *gradients, dz = _scan_gradients(dy, *tensors, z, ctx.directions, ctx.scale)
    return (*gradients, None if z is None else dz, None, None)


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *tensors, ctx.directions, ctx.scale = inputs
    ctx.save_for_backward(*tensors)


bidirectional_selective_scan.register_autograd(_backward, setup_context=_setup)


def check_scan(inputs: ScanInputs, directions: str) -> tuple[Direction, ...]:
    """The parsed directions of a bidirectional_selective_scan; InputError when shapes and they do not fit."""
    u, x_dbl, dt_weight, dt_bias, A, D_skip, z = inputs
    paths = parse_directions(directions)
    check_rank(u=(u, 4), x_dbl=(x_dbl, 4), dt_weight=(dt_weight, 3), A=(A, 3))
    batch, _, channels, length = u.shape
    scans, rank, states = len(paths), dt_weight.shape[2], A.shape[2]
    check_shape("u", u, (batch, scans, channels, length), "(B, K, D, L)")
    check_shape("x_dbl", x_dbl, (batch, scans, rank + 2 * states, length), "(B, K, R + 2N, L)")
    check_shape("dt_weight", dt_weight, (scans, channels, rank), "(K, D, R)")
    check_shape("dt_bias", dt_bias, (scans, channels), "(K, D)")
    check_shape("A", A, (scans, channels, states), "(K, D, N)")
    check_shape("D_skip", D_skip, (scans, channels), "(K, D)")
    if z is not None:
        check_shape("z", z, (batch, channels, length), "(B, D, L)")
    check_slices(paths, length)
    return paths


def _body(directions: str, given: Collection[str]) -> str:
    paths = parse_directions(directions)
    z = ", z" if "z" in given else ""
    gate = "y32 = Identity (scaled)"
    if "z" in given:
        gate = f"z32 = Cast <to = 1> (z)\n{text.silu('z32', 'gate')}\ny32 = Mul (scaled, gate)"
    return f"""
    <scale: float = 1.0, directions: string = "{directions}", {text.PLUGIN}>
    (u, x_dbl, dt_weight, dt_bias, A, D_skip{z}) => (y)
    {{
        {text.AXES}
        u32 = Cast <to = 1> (u)
        x_dbl32 = Cast <to = 1> (x_dbl)
        {text.split("u32", "u_token", paths)}
        {text.split("x_dbl32", "row_token", paths)}
        {text.steps_of([f"u_token{k}" for k in range(len(paths))], "u_step", paths)}
        {text.steps_of([f"row_token{k}" for k in range(len(paths))], "row_step", paths)}
        u_steps = Concat <axis = 1> ({text.names("u_step", paths)})
        row_steps = Concat <axis = 1> ({text.names("row_step", paths)})

        rank = Shape <start = 2> (dt_weight)
        states = Shape <start = 2> (A)
        row_counts = Concat <axis = 0> (rank, states, states)
        dt, B, C = Split <axis = 2> (row_steps, row_counts)
        dt_projected = MatMul (dt_weight, dt)
        dt_bias_column = Unsqueeze (dt_bias, axis2)
        dt_biased = Add (dt_projected, dt_bias_column)
        delta = Softplus (dt_biased)

        A_rows = Transpose <perm = [0, 2, 1]> (A)
        {text.steps_first("delta", "delta_rows", "axis3")}
        {text.steps_first("u_steps", "u_rows", "axis3")}
        {text.steps_first("B", "B_columns", "axis4")}
        {text.steps_first("C", "C_rows", "axis3")}
        scans = Shape <start = 0, end = 2> (u)
        channels = Shape <start = 2, end = 3> (u)
        h_shape = Concat <axis = 0> (scans, states, channels)
        zeros = ConstantOfShape (h_shape)
        h_end, y_rows = Scan <num_scan_inputs = 4, body = step
            (float[b, k, n, d] h, float[b, k, one, d] delta_t, float[b, k, one, d] u_t,
             float[b, k, n, one] B_t, float[b, k, one, n] C_t)
            => (float[b, k, n, d] h_next, float[b, k, one, d] y_t)
            {{
                exponent = Mul (delta_t, A_rows)
                decay = Exp (exponent)
                kept = Mul (decay, h)
                drive = Mul (delta_t, u_t)
                added = Mul (B_t, drive)
                h_next = Add (kept, added)
                y_t = MatMul (C_t, h_next)
            }}> (zeros, delta_rows, u_rows, B_columns, C_rows)
        y_first = Squeeze (y_rows, axis3)
        y_scan = Transpose <perm = [1, 2, 3, 0]> (y_first)
        D_column = Unsqueeze (D_skip, axis2)
        skipped = Mul (D_column, u_steps)
        y_steps = Add (y_scan, skipped)
        {text.split("y_steps", "y_step", paths)}
        {text.tokens_of("y_step", "y_token", paths)}
        y_sum = Sum ({text.names("y_token", paths)})
        y_ungated = Squeeze (y_sum, axis1)
        factor = Constant <value_float: float = @scale> ()
        scaled = Mul (y_ungated, factor)
        {gate}
        y = CastLike (y32, u)
    }}"""


def _translate(*arguments: Any) -> tuple[list[Any], dict[str, Any]]:
    *inputs, z, directions, scale = arguments
    return inputs if z is None else [*inputs, z], {"directions": directions, "scale": scale}


SPEC = OpSpec(
    name="BidirectionalSelectiveScan",
    inputs=["u", "x_dbl", "dt_weight:float", "dt_bias:float", "A:float", "D_skip:float", "z?"],
    attributes={"directions": STRING, "scale": FLOAT},
    body=_body,
    selector="directions",
    effects={"z": "gated"},
    torch_op=torch.ops.msdk.bidirectional_selective_scan.default,
    translate=_translate,
)

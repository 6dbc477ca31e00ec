"""The msdk ops for PyTorch: schema, shape checks, reference kernel, autograd.

Importing this module registers directional_conv1d, bidirectional_selective_scan and kan_linear under
`torch.ops.msdk`; the functions of the same names below are those ops. All tensors are channels-first; tokens
of a feature map (D, H, W) are numbered l = (d*H + h)*W + w.
"""

import torch
from torch import Tensor

from msdk_export.causal_conv import conv_backward, conv_forward
from msdk_export.directions import Direction, check_slices, parse_directions
from msdk_export.kan_spline import kan_backward, kan_forward
from msdk_export.selective_scan import scan_backward, scan_forward
from msdk_rt.errors import InputError


@torch.library.custom_op("msdk::directional_conv1d", mutates_args=())
def directional_conv1d(x: Tensor, weight: Tensor, bias: Tensor, directions: str) -> Tensor:
    """Causal depthwise convolution and SiLU along each direction's path.

    x (B,D,L), weight (K,D,W), bias (K,D) -> u (B,K,D,L). `directions` holds K comma-separated
    directions. Tokens before the start of a path count as zero; W may exceed L.
    Raises InputError when shapes and directions do not fit.
    """
    paths = _check_conv(x, weight, bias, directions)
    return conv_forward(x, weight, bias, paths)


@directional_conv1d.register_fake
def _(x, weight, bias, directions):
    paths = _check_conv(x, weight, bias, directions)
    return x.new_empty(x.shape[0], len(paths), x.shape[1], x.shape[2])


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
    paths = check_scan(u, x_dbl, dt_weight, dt_bias, A, D_skip, z, directions)
    return scan_forward(u, x_dbl, dt_weight, dt_bias, A, D_skip, z, paths, scale)


@bidirectional_selective_scan.register_fake
def _(u, x_dbl, dt_weight, dt_bias, A, D_skip, z, directions, scale):
    check_scan(u, x_dbl, dt_weight, dt_bias, A, D_skip, z, directions)
    return u.new_empty(u.shape[0], u.shape[2], u.shape[3])


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
    _check_kan(x, base_weight, spline_weight, grid_min, grid_max)
    return kan_forward(x, base_weight, spline_weight, grid_min, grid_max)


@kan_linear.register_fake
def _(x, base_weight, spline_weight, grid_min, grid_max):
    _check_kan(x, base_weight, spline_weight, grid_min, grid_max)
    return x.new_empty(x.shape[0], base_weight.shape[0], x.shape[2])


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
    paths = parse_directions(directions)
    return scan_backward(dy, u, x_dbl, dt_weight, dt_bias, A, D_skip, z, paths, scale)


@_scan_gradients.register_fake
def _(dy, u, x_dbl, dt_weight, dt_bias, A, D_skip, z, directions, scale):
    inputs = (u, x_dbl, dt_weight, dt_bias, A, D_skip, dy.new_empty(0) if z is None else z)
    return tuple(t.new_empty(t.shape) for t in inputs)


@torch.library.custom_op("msdk::kan_linear_backward", mutates_args=())
def _kan_gradients(
    dy: Tensor, x: Tensor, base_weight: Tensor, spline_weight: Tensor, grid_min: float, grid_max: float
) -> tuple[Tensor, Tensor, Tensor]:
    return kan_backward(dy, x, base_weight, spline_weight, grid_min, grid_max)


@_kan_gradients.register_fake
def _(dy, x, base_weight, spline_weight, grid_min, grid_max):
    return tuple(t.new_empty(t.shape) for t in (x, base_weight, spline_weight))


def _conv_backward(ctx, du):
    return (*conv_backward(du, *ctx.saved_tensors, parse_directions(ctx.directions)), None)


def _conv_setup(ctx, inputs, output):
    *tensors, ctx.directions = inputs
    ctx.save_for_backward(*tensors)


def _scan_backward(ctx, dy):
    *tensors, z = ctx.saved_tensors
    *gradients, dz = _scan_gradients(dy, *tensors, z, ctx.directions, ctx.scale)
    return (*gradients, None if z is None else dz, None, None)


def _scan_setup(ctx, inputs, output):
    *tensors, ctx.directions, ctx.scale = inputs
    ctx.save_for_backward(*tensors)


def _kan_backward(ctx, dy):
    return (*_kan_gradients(dy, *ctx.saved_tensors, *ctx.grid), None, None)


def _kan_setup(ctx, inputs, output):
    *tensors, grid_min, grid_max = inputs
    ctx.grid = grid_min, grid_max
    ctx.save_for_backward(*tensors)


directional_conv1d.register_autograd(_conv_backward, setup_context=_conv_setup)
bidirectional_selective_scan.register_autograd(_scan_backward, setup_context=_scan_setup)
kan_linear.register_autograd(_kan_backward, setup_context=_kan_setup)


def _check_conv(x, weight, bias, directions):
    paths = parse_directions(directions)
    _check_rank(x=(x, 3), weight=(weight, 3), bias=(bias, 2))
    _, channels, length = x.shape
    width = weight.shape[2]
    _check_shape("weight", weight, (len(paths), channels, width), "(K, D, W)")
    _check_shape("bias", bias, (len(paths), channels), "(K, D)")
    check_slices(paths, length)
    return paths


def check_scan(u, x_dbl, dt_weight, dt_bias, A, D_skip, z, directions: str) -> tuple[Direction, ...]:
    """The parsed directions of a bidirectional_selective_scan; InputError when shapes and they do not fit."""
    paths = parse_directions(directions)
    _check_rank(u=(u, 4), x_dbl=(x_dbl, 4), dt_weight=(dt_weight, 3), A=(A, 3))
    batch, _, channels, length = u.shape
    scans, rank, states = len(paths), dt_weight.shape[2], A.shape[2]
    _check_shape("u", u, (batch, scans, channels, length), "(B, K, D, L)")
    _check_shape("x_dbl", x_dbl, (batch, scans, rank + 2 * states, length), "(B, K, R + 2N, L)")
    _check_shape("dt_weight", dt_weight, (scans, channels, rank), "(K, D, R)")
    _check_shape("dt_bias", dt_bias, (scans, channels), "(K, D)")
    _check_shape("A", A, (scans, channels, states), "(K, D, N)")
    _check_shape("D_skip", D_skip, (scans, channels), "(K, D)")
    if z is not None:
        _check_shape("z", z, (batch, channels, length), "(B, D, L)")
    check_slices(paths, length)
    return paths


def _check_kan(x, base_weight, spline_weight, grid_min, grid_max):
    _check_rank(x=(x, 3), base_weight=(base_weight, 2), spline_weight=(spline_weight, 3))
    out, channels, bases = base_weight.shape[0], x.shape[1], spline_weight.shape[2]
    _check_shape("base_weight", base_weight, (out, channels), "(O, C)")
    _check_shape("spline_weight", spline_weight, (out, channels, bases), "(O, C, G)")
    if bases < 4:
        raise InputError(f"spline_weight needs at least 4 cubic bases (G), got {bases}")
    if not grid_min < grid_max:
        raise InputError(f"expected grid_min < grid_max, got {grid_min} and {grid_max}")


def _check_rank(**tensors):
    for name, (tensor, rank) in tensors.items():
        if tensor.dim() != rank:
            raise InputError(f"{name}: expected {rank} axes, got shape {tuple(tensor.shape)}")


def _check_shape(name, tensor, expected, axes):
    if tuple(tensor.shape) != expected:
        raise InputError(
            f"{name}: expected shape {expected} = {axes}, got {tuple(tensor.shape)}: "
            "all tensors and the direction list of one call must describe the same scan"
        )

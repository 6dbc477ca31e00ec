"""The ops in float64 NumPy, step by step: the one oracle every home of an op is tested against."""

import numpy as np


def parse_directions(directions):
    """'forward,slices:4:backward' -> [(1, False), (4, True)]: (slices, backward) of each scan."""
    parsed = []
    for direction in directions.split(","):
        words = direction.split(":")
        slices = int(words[1]) if words[0] == "slices" else 1
        parsed.append((slices, words[-1] == "backward"))
    return parsed


def permutation(direction, length):
    """p of one (slices, backward) pair: p[t] is the token visited at step t."""
    slices, backward = direction
    tokens_per_slice = length // slices
    steps = np.arange(length)
    tokens = (steps % slices) * tokens_per_slice + steps // slices
    return tokens[::-1] if backward else tokens


def sigmoid(x):
    return np.exp(-np.logaddexp(0, -x))


def silu(x):
    return x * sigmoid(x)


def softplus(x):
    return np.where(x > 20, x, np.log1p(np.exp(np.minimum(x, 20))))


def directional_conv1d(x, weight, bias, directions):
    """x (B,D,L), weight (K,D,W), bias (K,D) -> u (B,K,D,L)."""
    x, weight, bias = (np.asarray(a, np.float64) for a in (x, weight, bias))
    batch, channels, length = x.shape
    width = weight.shape[2]
    u = np.empty((batch, len(weight), channels, length))
    for k, direction in enumerate(parse_directions(directions)):
        p = permutation(direction, length)
        padded = np.concatenate([np.zeros((batch, channels, width - 1)), x[:, :, p]], axis=2)
        total = np.broadcast_to(bias[k][:, None], x.shape)
        for j in range(width):
            total = total + weight[k, :, j, None] * padded[:, :, j : j + length]
        u[:, k][:, :, p] = silu(total)
    return u


def bidirectional_selective_scan(u, x_dbl, dt_weight, dt_bias, A, D_skip, z, directions, scale=1.0):
    """u (B,K,D,L), x_dbl (B,K,R+2N,L), dt_weight (K,D,R), dt_bias (K,D), A (K,D,N), D_skip (K,D),
    z (B,D,L) or None -> y (B,D,L)."""
    u, x_dbl, dt_weight, dt_bias, A, D_skip = (
        np.asarray(a, np.float64) for a in (u, x_dbl, dt_weight, dt_bias, A, D_skip)
    )
    batch, scans, channels, length = u.shape
    rank, states = dt_weight.shape[2], A.shape[2]
    order = [permutation(direction, length) for direction in parse_directions(directions)]
    steps_first = (3, 0, 1, 2)
    u_steps = np.stack([u[:, k][..., p] for k, p in enumerate(order)], axis=1).transpose(steps_first)
    rows = np.stack([x_dbl[:, k][..., p] for k, p in enumerate(order)], axis=1).transpose(steps_first)
    dt, B, C = np.split(rows, [rank, rank + states], axis=3)
    delta = softplus(np.einsum("kdr,tbkr->tbkd", dt_weight, dt) + dt_bias)

    h = np.zeros((batch, scans, channels, states))
    y_steps = np.empty_like(u_steps)
    for t in range(length):
        h = np.exp(delta[t][..., None] * A) * h + (delta[t] * u_steps[t])[..., None] * B[t][:, :, None, :]
        y_steps[t] = (h * C[t][:, :, None, :]).sum(-1) + D_skip * u_steps[t]

    y = np.zeros((batch, channels, length))
    for k, p in enumerate(order):
        y[:, :, p] += y_steps[:, :, k].transpose(1, 2, 0)
    gate = 1.0 if z is None else silu(np.asarray(z, np.float64))
    return scale * gate * y


def bspline_bases(x, grid_min, grid_max, bases):
    """Cox-de Boor recursion: x (...) -> (..., bases) cubic B-splines on uniform knots, zero outside them."""
    h = (grid_max - grid_min) / (bases - 3)
    knots = grid_min + (np.arange(bases + 4) - 3) * h
    x = np.asarray(x, np.float64)[..., None]
    b = ((x >= knots[:-1]) & (x < knots[1:])).astype(np.float64)
    for order in (1, 2, 3):
        rising = (x - knots[: -order - 1]) / (knots[order:-1] - knots[: -order - 1])
        falling = (knots[order + 1 :] - x) / (knots[order + 1 :] - knots[1:-order])
        b = rising * b[..., :-1] + falling * b[..., 1:]
    return b


def kan_linear(x, base_weight, spline_weight, grid_min=-1.0, grid_max=1.0):
    """x (B,C,L), base_weight (O,C), spline_weight (O,C,G) -> y (B,O,L)."""
    x, base_weight, spline_weight = (np.asarray(a, np.float64) for a in (x, base_weight, spline_weight))
    bases = bspline_bases(x, grid_min, grid_max, spline_weight.shape[2])
    return np.einsum("oc,bcl->bol", base_weight, silu(x)) + np.einsum("ocg,bclg->bol", spline_weight, bases)


def instance_norm(x, weight, bias, addend=None, epsilon=1e-5, activation="none", slope=0.01):
    """(B, C, ...) normalised over all axes but the first two; then the addend, then the activation."""
    x, column = x.astype(np.float64), (-1, *(1,) * (x.ndim - 2))
    axes = tuple(range(2, x.ndim))
    normalised = (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + epsilon)
    y = normalised * weight.reshape(column).astype(np.float64) + bias.reshape(column)
    y = y if addend is None else y + addend
    return {"none": y, "relu": np.maximum(y, 0), "leaky_relu": np.where(y > 0, y, slope * y)}[activation]


def token_norm(x, weight, bias, epsilon=1e-5):
    """x (B,C,L), weight (C), bias (C) -> y (B,C,L), normalised over C."""
    x, weight, bias = (np.asarray(a, np.float64) for a in (x, weight, bias))
    normalised = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + epsilon)
    return normalised * weight[:, None] + bias[:, None]


def token_linear(x, weight, addend=None):
    """x (B,C,L) or (B,K,C,L), weight (O,C) or (K,O,C) -> y (B,O,L) or (B,K,O,L), addend on top."""
    product = np.matmul(np.asarray(weight, np.float64), np.asarray(x, np.float64))
    return product if addend is None else product + addend


def conv3d(x, weight, bias, strides, pads, group=1):
    """ONNX's Conv: x (B,C,D,H,W), weight (O,C/group,k,k,k), bias (O) or None -> y (B,O,D',H',W')."""
    x, weight = np.asarray(x, np.float64), np.asarray(weight, np.float64)
    padded = np.pad(x, [(0, 0), (0, 0), *zip(pads[:3], pads[3:], strict=True)])
    sides = [(n - k) // s + 1 for n, k, s in zip(padded.shape[2:], weight.shape[2:], strides, strict=True)]
    grouped = padded.reshape(len(x), group, -1, *padded.shape[2:])
    weights = weight.reshape(group, -1, *weight.shape[1:])
    y = np.zeros((len(x), group, weights.shape[1], *sides))
    for tap in np.ndindex(*weight.shape[2:]):
        ends = (t + s * (n - 1) + 1 for t, s, n in zip(tap, strides, sides, strict=True))
        box = tuple(slice(t, end, s) for t, end, s in zip(tap, ends, strides, strict=True))
        y += np.einsum("goc,bgcdhw->bgodhw", weights[(..., *tap)], grouped[(..., *box)])
    y = y.reshape(len(x), -1, *sides)
    return y if bias is None else y + np.asarray(bias, np.float64)[:, None, None, None]


def conv_transpose3d(x, weight, bias, strides, skip=None):
    """ONNX's ConvTranspose whose kernel is its stride: x (B,C,D,H,W), weight (C,O,*strides), bias (O) -> y.

    y (B,O+S,D',H',W') has skip (B,S,D',H',W') behind what x gives.
    """
    x, weight, bias = (np.asarray(a, np.float64) for a in (x, weight, bias))
    assert weight.shape[2:] == tuple(strides)
    y = np.zeros((len(x), weight.shape[1], *np.multiply(x.shape[2:], strides)))
    for tap in np.ndindex(*strides):
        box = tuple(slice(t, None, s) for t, s in zip(tap, strides, strict=True))
        y[(..., *box)] = np.einsum("co,bcdhw->bodhw", weight[(..., *tap)], x)
    y += bias[:, None, None, None]
    return y if skip is None else np.concatenate([y, skip], 1)


def trilinear_upsample(x, addend=None):
    """x (B,C,D,H,W) with every side doubled, plus addend (B,C,2D,2H,2W) or None -> y (B,C,2D,2H,2W)."""
    y = np.asarray(x, np.float64)
    for axis in (2, 3, 4):
        indices = np.arange(y.shape[axis])
        before = y.take(np.maximum(indices - 1, 0), axis)
        after = y.take(np.minimum(indices + 1, len(indices) - 1), axis)
        pairs = np.stack([before / 4 + 3 * y / 4, 3 * y / 4 + after / 4], axis + 1)
        y = pairs.reshape(*y.shape[:axis], -1, *y.shape[axis + 1 :])
    return y if addend is None else y + addend

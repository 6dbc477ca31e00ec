"""The bidirectional selective scan in PyTorch: forward and backward, a segment of tokens at a time.

Tokens are taken in segments whose (Q, B, K, P, N, D) tensors fit `SEGMENT_BYTES`, so nothing of size L*D*N
ever exists. The backward pass recomputes the state before every segment, then walks the segments from the
last to the first.

A step of one token is too little work for a PyTorch call. A segment is therefore cut into P chunks of
Q = `CHUNK_TOKENS`, whose steps are taken together: once from zero, which gives what each chunk adds, then,
with the state before each chunk known from P small steps, once more for the states themselves. The step
within a chunk is the outermost axis and the channel the innermost, so that a step is one piece of memory.
"""

import functools
import math
import operator
from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from msdk_export.ops.causal_conv import silu_slope
from msdk_export.ops.directions import Direction, to_steps, to_tokens

SEGMENT_BYTES = 1 << 21
CHUNK_TOKENS = 16


class ScanInputs(NamedTuple):
    """The tensors of one scan: B volumes, K directions, D channels, L tokens, N states, rank R."""

    u: Tensor  # (B, K, D, L)
    x_dbl: Tensor  # (B, K, R + 2N, L): rows dt (R), B (N), C (N)
    dt_weight: Tensor  # (K, D, R)
    dt_bias: Tensor  # (K, D)
    A: Tensor  # (K, D, N)
    D_skip: Tensor  # (K, D)
    z: Tensor | None  # (B, D, L)


def scan_forward(inputs: ScanInputs, paths: tuple[Direction, ...], scale: float) -> Tensor:
    """The op as in `torch.ops.msdk.bidirectional_selective_scan`, with its directions parsed: y (B,D,L)."""
    scan = _Scan(inputs, paths)
    y_steps = scan.empty_steps()
    h = scan.initial_state()
    for tokens in scan.segments():
        segment = _Segment(scan, tokens)
        h = segment.advance(h)
        y_steps[..., tokens] = segment.outputs()
    y = scan.merged(y_steps)
    gate = scale if inputs.z is None else scale * F.silu(inputs.z.to(y.dtype))
    return (gate * y).to(inputs.u.dtype)


def scan_backward(
    dy: Tensor, inputs: ScanInputs, paths: tuple[Direction, ...], scale: float
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of u, x_dbl, dt_weight, dt_bias, A, D_skip and z (empty where z is None), from dy (B,D,L)."""
    z = inputs.z
    scan = _Scan(inputs, paths)
    states_before = []
    h = scan.initial_state()
    for tokens in scan.segments():
        states_before.append(h)
        h = _Segment(scan, tokens).states_before_chunks(h)[-1]

    dy = scale * dy.to(scan.dtype)
    dy_scan = dy if z is None else dy * F.silu(z.to(scan.dtype))
    dy_steps = scan.in_step_order(dy_scan.unsqueeze(1).expand(-1, len(paths), -1, -1))
    y_steps = None if z is None else scan.empty_steps()
    gradients = _Gradients(scan)
    dh = scan.initial_state()
    for tokens, before in zip(reversed(list(scan.segments())), reversed(states_before), strict=True):
        segment = _Segment(scan, tokens)
        segment.advance(before)
        if y_steps is not None:
            y_steps[..., tokens] = segment.outputs()
        dh = gradients.add(segment, dy_steps[..., tokens], dh)
    du, dx_dbl, ddt_weight, ddt_bias, dA, dD_skip = (
        d.to(tensor.dtype) for d, tensor in zip(gradients.inputs(), inputs[:-1], strict=True)
    )
    dz = dy.new_empty(0)
    if z is not None and y_steps is not None:
        dz = (dy * silu_slope(z.to(scan.dtype)) * scan.merged(y_steps)).to(z.dtype)
    return du, dx_dbl, ddt_weight, ddt_bias, dA, dD_skip, dz


class _Scan:
    """The op's inputs in step order and compute precision; a state is laid out (B,K,N,D)."""

    def __init__(self, inputs: ScanInputs, paths: tuple[Direction, ...]):
        u, x_dbl, dt_weight, dt_bias, A, D_skip, _ = inputs
        self.dtype = torch.promote_types(A.dtype, torch.float32)
        self.paths = paths
        self.rank, self.states = dt_weight.shape[2], A.shape[2]
        self.u, self.x_dbl = self.in_step_order(u), self.in_step_order(x_dbl)
        self.dt_weight = dt_weight.to(self.dtype)
        self.dt_bias, self.D_skip = (p.to(self.dtype).unsqueeze(2) for p in (dt_bias, D_skip))
        self.A = A.to(self.dtype).transpose(1, 2).unsqueeze(1).contiguous()
        self.A_log2 = self.A * math.log2(math.e)

    def decay(self, delta: Tensor) -> Tensor:
        """exp(delta A), by exp2, which takes a third of exp's time: (...,B,K,P,D) -> (...,B,K,P,N,D)."""
        return (delta.unsqueeze(-2) * self.A_log2).exp2_()

    def in_step_order(self, tokens: Tensor) -> Tensor:
        """(B,K,F,L) in token order -> (B,K,F,L) in the order each path visits them."""
        if len(self.paths) == 1:
            return to_steps(tokens, self.paths[0])
        return torch.stack([to_steps(tokens[:, k], path) for k, path in enumerate(self.paths)], dim=1)

    def in_token_order(self, steps: Tensor) -> Tensor:
        """The inverse of in_step_order."""
        return torch.stack([to_tokens(steps[:, k], path) for k, path in enumerate(self.paths)], dim=1)

    def merged(self, steps: Tensor) -> Tensor:
        """(B,K,D,L) in step order -> (B,D,L) in token order, summed over the paths."""
        tokens = (to_tokens(steps[:, k], path) for k, path in enumerate(self.paths))
        return functools.reduce(operator.add, tokens)

    def empty_steps(self) -> Tensor:
        return torch.empty(self.u.shape, dtype=self.dtype, device=self.u.device)

    def initial_state(self) -> Tensor:
        batch, paths, channels, _ = self.u.shape
        return self.A.new_zeros(batch, paths, self.states, channels)

    def segments(self) -> Iterator[slice]:
        """Slices of whole chunks, and at the end one of what is left over."""
        batch, paths, channels, length = self.u.shape
        chunk_bytes = CHUNK_TOKENS * batch * paths * self.states * channels * self.A.element_size()
        tokens = CHUNK_TOKENS * max(1, SEGMENT_BYTES // chunk_bytes)
        whole = length - length % CHUNK_TOKENS
        for start in range(0, whole, tokens):
            yield slice(start, min(start + tokens, whole))
        if whole < length:
            yield slice(whole, length)


class _Segment:
    """T = P Q tokens of a scan, in two layouts.

    As in the scan: u, delta and the argument of its softplus, dt_projected, (B,K,D,T), dt (B,K,R,T).
    With token p Q + q at [q, :, :, p]: delta_steps and drive (Q,B,K,P,D), B and C (Q,B,K,P,N), decay and h
    (Q,B,K,P,N,D).
    """

    def __init__(self, scan: _Scan, tokens: slice):
        self.scan, self.tokens = scan, tokens
        self.u = scan.u[..., tokens].to(scan.dtype)
        rows = scan.x_dbl[..., tokens].to(scan.dtype)
        self.dt, states_rows = rows.split([scan.rank, 2 * scan.states], dim=2)
        self.dt_projected = scan.dt_weight @ self.dt + scan.dt_bias
        self.delta = F.softplus(self.dt_projected)
        self.delta_steps = self.by_step(self.delta)
        self.drive = self.by_step(self.delta * self.u)
        self.B, self.C = self.by_step(states_rows).chunk(2, dim=4)
        self.decay = scan.decay(self.delta_steps)
        self.h = self.B.unsqueeze(5) * self.drive.unsqueeze(4)

    def by_step(self, tokens: Tensor) -> Tensor:
        """(B,K,F,T) -> (Q,B,K,P,F)."""
        chunk = min(CHUNK_TOKENS, tokens.shape[3])
        steps: Tensor = tokens.unflatten(3, (-1, chunk)).permute(4, 0, 1, 3, 2)
        return steps.contiguous()

    def by_token(self, steps: Tensor) -> Tensor:
        """The inverse of by_step."""
        return steps.permute(1, 2, 4, 3, 0).flatten(3)

    def advance(self, before: Tensor) -> Tensor:
        """Turn h, which holds the states' inputs, into the states, in place; returns the last (B,K,N,D)."""
        *states, last = self.states_before_chunks(before)
        self.before = state = torch.stack(states, dim=2)
        for decay, h in zip(self.decay, self.h, strict=True):
            state = h.addcmul_(decay, state)
        return last

    def chunk_decays(self) -> tuple[Tensor, ...]:
        """exp(A sum of delta) of every chunk: how much of the state before it is left after it, (B,K,N,D)."""
        return self.scan.decay(self.delta_steps.sum(0)).unbind(2)

    def states_before_chunks(self, before: Tensor) -> list[Tensor]:
        """The states (B,K,N,D) before every chunk, and the one after the last; h keeps the states' inputs."""
        added = self.h[0].clone()
        for decay, h in zip(self.decay[1:], self.h[1:], strict=True):
            torch.addcmul(h, decay, added, out=added)
        states = [before]
        for kept, more in zip(self.chunk_decays(), added.unbind(2), strict=True):
            states.append(torch.addcmul(more, kept, states[-1]))
        return states

    def outputs(self) -> Tensor:
        """C . h + D_skip * u of every token: (B,K,D,T)."""
        return self.by_token(_weighted(self.C, self.h)).addcmul_(self.scan.D_skip, self.u)


class _Gradients:
    """Gradients of a scan's inputs, gathered segment by segment from the last to the first."""

    def __init__(self, scan: _Scan):
        self.scan = scan
        self.du = scan.empty_steps()
        self.dx_dbl = torch.empty(scan.x_dbl.shape, dtype=scan.dtype, device=scan.u.device)
        self.ddt_weight, self.ddt_bias, self.dA, self.dD_skip = (
            torch.zeros_like(p) for p in (scan.dt_weight, scan.dt_bias, scan.A, scan.D_skip)
        )

    def add(self, segment: _Segment, dy: Tensor, dh: Tensor) -> Tensor:
        """Add one segment whose states are known, from the gradients of its outputs and of its last state.

        dy (B,K,D,T), dh (B,K,N,D) -> the gradient of the state before the segment. Uses up segment.decay.
        """
        scan = self.scan
        dy_steps = segment.by_step(dy)
        dC = _dot(segment.h, dy_steps)
        g, handed_back = _state_gradients(segment, dy_steps, dh)
        ddecay_log = segment.decay.mul_(g)
        ddecay_log[0] *= segment.before
        ddecay_log[1:] *= segment.h[:-1]

        ddrive = segment.by_token(_weighted(segment.B, g))
        dB = _dot(g, segment.drive)
        by_chunk = (ddecay_log * segment.delta_steps.unsqueeze(4)).sum(0)
        self.dA += by_chunk.sum((0, 2)).unsqueeze(1)
        ddelta = segment.by_token(ddecay_log.mul_(scan.A).sum(4)).addcmul_(ddrive, segment.u)
        dprojected = ddelta * segment.dt_projected.sigmoid()
        self.ddt_weight += (dprojected @ segment.dt.transpose(2, 3)).sum(0)
        self.ddt_bias += dprojected.sum((0, 3)).unsqueeze(2)
        self.dD_skip += (dy * segment.u).sum((0, 3)).unsqueeze(2)
        self.du[..., segment.tokens] = ddrive.mul_(segment.delta).addcmul_(scan.D_skip, dy)
        ddt, drows = self.dx_dbl[..., segment.tokens].split([scan.rank, 2 * scan.states], dim=2)
        ddt.copy_(scan.dt_weight.transpose(1, 2) @ dprojected)
        drows.copy_(segment.by_token(torch.cat([dB, dC], dim=4)))
        return handed_back

    def inputs(self) -> tuple[Tensor, ...]:
        """Gradients of u, x_dbl, dt_weight, dt_bias, A and D_skip in the shapes of the inputs."""
        return (
            self.scan.in_token_order(self.du),
            self.scan.in_token_order(self.dx_dbl),
            self.ddt_weight,
            self.ddt_bias.squeeze(2),
            self.dA.squeeze(1).transpose(1, 2).contiguous(),
            self.dD_skip.squeeze(2),
        )


def _state_gradients(segment: _Segment, dy: Tensor, dh: Tensor) -> tuple[Tensor, Tensor]:
    """dy (Q,B,K,P,D), dh of the last state (B,K,N,D) -> g (Q,B,K,P,N,D), dh of the state before the segment.

    g_t, the whole gradient of h_t, is C_t dy_t + decay_{t+1} g_{t+1}. Chunks go together, as in the scan.
    """
    g = segment.C.unsqueeze(5) * dy.unsqueeze(4)
    steps = list(zip(g[:-1], segment.decay[1:], strict=True))[::-1]
    added = g[-1].clone()
    for g_t, decay_next in steps:
        torch.addcmul(g_t, decay_next, added, out=added)
    added *= segment.decay[0]

    after_chunks = [dh]
    for kept, more in zip(segment.chunk_decays()[::-1], added.unbind(2)[::-1], strict=True):
        after_chunks.append(torch.addcmul(more, kept, after_chunks[-1]))
    *after_chunks, handed_back = after_chunks
    g_next = g[-1].add_(torch.stack(after_chunks[::-1], dim=2))
    for g_t, decay_next in steps:
        g_next = g_t.addcmul_(decay_next, g_next)
    return g, handed_back


def _weighted(weights: Tensor, states: Tensor) -> Tensor:
    """The sum over N: (...,N), (...,N,D) -> (...,D). A product of matrices this small is slower."""
    total = torch.zeros_like(states[..., 0, :])
    for weight, state in zip(weights.unsqueeze(-1).unbind(-2), states.unbind(-2), strict=True):
        total.addcmul_(weight, state)
    return total


def _dot(states: Tensor, channels: Tensor) -> Tensor:
    """The dot product over D: (...,N,D), (...,D) -> (...,N)."""
    products: Tensor = torch.linalg.vecdot(states, channels.unsqueeze(-2))
    return products

"""The bidirectional selective scan in PyTorch: forward and backward, a segment of tokens at a time.

Tokens are taken in segments whose (B, K, T, N, D) tensors fit `SEGMENT_BYTES`, so nothing of size L*D*N ever
exists. The backward pass recomputes the state before every segment, then walks the segments from the last to
the first. D is the innermost axis: elementwise kernels then run over contiguous channels.

A step of one token is too little work for a PyTorch call. A segment is therefore cut into P chunks of
`CHUNK_TOKENS`, whose steps are taken together: once from zero, which gives what each chunk adds, then, with
the state before each chunk known from P small steps, once more for the states themselves.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from msdk_export.causal_conv import silu_slope
from msdk_export.directions import Direction, to_steps, to_tokens

SEGMENT_BYTES = 1 << 21
CHUNK_TOKENS = 16


def scan_forward(
    u, x_dbl, dt_weight, dt_bias, A, D_skip, z, paths: tuple[Direction, ...], scale: float
) -> Tensor:
    """The op as in `msdk_export.ops.bidirectional_selective_scan`, with its directions parsed: y (B,D,L)."""
    scan = _Scan(u, x_dbl, dt_weight, dt_bias, A, D_skip, paths)
    y_steps = scan.empty_steps()
    h = scan.initial_state()
    for tokens in scan.segments():
        segment = _Segment(scan, tokens)
        h = segment.advance(h)
        y_steps[..., tokens] = segment.outputs().transpose(2, 3)
    y = scan.merged(y_steps)
    gate = scale if z is None else scale * F.silu(z.to(y.dtype))
    return (gate * y).to(u.dtype)


def scan_backward(
    dy, u, x_dbl, dt_weight, dt_bias, A, D_skip, z, paths: tuple[Direction, ...], scale: float
) -> tuple[Tensor, ...]:
    """Gradients of u, x_dbl, dt_weight, dt_bias, A, D_skip and z (empty where z is None), from dy (B,D,L)."""
    scan = _Scan(u, x_dbl, dt_weight, dt_bias, A, D_skip, paths)
    states_before = []
    h = scan.initial_state()
    for tokens in scan.segments():
        states_before.append(h)
        h = _Segment(scan, tokens).last_state(h)

    dy = scale * dy.to(scan.dtype)
    dy_scan = dy if z is None else dy * F.silu(z.to(scan.dtype))
    dy_steps = scan.in_step_order(dy_scan.unsqueeze(1).expand(-1, len(paths), -1, -1))
    y_steps = None if z is None else scan.empty_steps()
    gradients = _Gradients(scan)
    dh = scan.initial_state()
    for tokens, before in zip(reversed(list(scan.segments())), reversed(states_before), strict=True):
        segment = _Segment(scan, tokens)
        segment.advance(before)
        dh = gradients.add(segment, before, dy_steps[..., tokens].transpose(2, 3).contiguous(), dh)
        if y_steps is not None:
            y_steps[..., tokens] = segment.outputs().transpose(2, 3)
    inputs = (u, x_dbl, dt_weight, dt_bias, A, D_skip)
    found = [d.to(input.dtype) for d, input in zip(gradients.inputs(), inputs, strict=True)]
    if z is None:
        return (*found, dy.new_empty(0))
    return (*found, (dy * silu_slope(z.to(scan.dtype)) * scan.merged(y_steps)).to(z.dtype))


class _Scan:
    """The op's inputs in step order and compute precision; the state is laid out (B,K,N,D)."""

    def __init__(self, u, x_dbl, dt_weight, dt_bias, A, D_skip, paths: tuple[Direction, ...]):
        self.dtype = torch.promote_types(A.dtype, torch.float32)
        self.paths = paths
        self.rank, self.states = dt_weight.shape[2], A.shape[2]
        self.u, self.x_dbl = self.in_step_order(u), self.in_step_order(x_dbl)
        self.dt_weight = dt_weight.to(self.dtype)
        self.dt_bias, self.D_skip = (p.to(self.dtype).unsqueeze(1) for p in (dt_bias, D_skip))
        self.A = A.to(self.dtype).transpose(1, 2).unsqueeze(1).contiguous()

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
        return sum(to_tokens(steps[:, k], path) for k, path in enumerate(self.paths))

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
    """T tokens of a scan: u and delta (B,K,T,D), dt (B,K,T,R), B and C (B,K,T,N), decay and h (B,K,T,N,D)."""

    def __init__(self, scan: _Scan, tokens: slice):
        self.scan, self.tokens = scan, tokens
        self.u = scan.u[..., tokens].transpose(2, 3).to(scan.dtype).contiguous()
        rows = scan.x_dbl[..., tokens].transpose(2, 3).to(scan.dtype).contiguous()
        self.dt, self.B, self.C = rows.split([scan.rank, scan.states, scan.states], dim=3)
        self.dt_projected = self.dt @ scan.dt_weight.transpose(1, 2) + scan.dt_bias
        self.delta = F.softplus(self.dt_projected)
        self.decay = (self.delta.unsqueeze(3) * scan.A).exp_()
        self.drive = self.delta * self.u
        self.h = self.B.unsqueeze(4) * self.drive.unsqueeze(3)

    def advance(self, before: Tensor) -> Tensor:
        """Turn h, which holds the states' inputs, into the states, in place; returns the last."""
        state, _ = self._states_before_chunks(before)
        for decay, h in zip(self.in_chunks(self.decay), self.in_chunks(self.h), strict=True):
            state = h.addcmul_(decay, state)
        return state[:, :, -1].clone()

    def last_state(self, before: Tensor) -> Tensor:
        """The state after the segment; h keeps the states' inputs."""
        return self._states_before_chunks(before)[1]

    def in_chunks(self, tokens: Tensor) -> tuple[Tensor, ...]:
        """(B,K,T,...) -> for every step of a chunk, a view (B,K,P,...) of that step in all chunks."""
        chunk = min(CHUNK_TOKENS, tokens.shape[2])
        return tokens.unflatten(2, (-1, chunk)).unbind(3)

    def chunk_decay(self) -> tuple[Tensor, ...]:
        """exp(A sum of delta) of every chunk: how much of the state before it is left after it, (B,K,N,D)."""
        total = sum(self.in_chunks(self.delta))
        return (total.unsqueeze(3) * self.scan.A).exp_().unbind(2)

    def _states_before_chunks(self, before: Tensor) -> tuple[Tensor, Tensor]:
        """The states before every chunk (B,K,P,N,D), and the one after the last (B,K,N,D)."""
        (_, *decays), (first, *inputs) = self.in_chunks(self.decay), self.in_chunks(self.h)
        added = first.clone()
        for decay, h in zip(decays, inputs, strict=True):
            torch.addcmul(h, decay, added, out=added)
        states = [before]
        for kept, more in zip(self.chunk_decay(), added.unbind(2), strict=True):
            states.append(torch.addcmul(more, kept, states[-1]))
        return torch.stack(states[:-1], dim=2), states[-1]

    def outputs(self) -> Tensor:
        """C . h + D_skip * u of every token: (B,K,T,D)."""
        return (self.C.unsqueeze(3) @ self.h).squeeze(3).addcmul_(self.scan.D_skip, self.u)


class _Gradients:
    """Gradients of a scan's inputs, gathered segment by segment from the last to the first."""

    def __init__(self, scan: _Scan):
        self.scan = scan
        self.du = scan.empty_steps()
        self.dx_dbl = torch.empty(scan.x_dbl.shape, dtype=scan.dtype, device=scan.u.device)
        self.ddt_weight, self.ddt_bias, self.dA, self.dD_skip = (
            torch.zeros_like(p) for p in (scan.dt_weight, scan.dt_bias, scan.A, scan.D_skip)
        )

    def add(self, segment: _Segment, before: Tensor, dy: Tensor, dh: Tensor) -> Tensor:
        """Add one segment, from the state before it and the gradients of its outputs and of its last state.

        before, dh (B,K,N,D), dy (B,K,T,D) -> the gradient of `before`. g_t, the whole gradient of h_t, is
        C_t dy_t + decay_{t+1} g_{t+1}.
        """
        scan = self.scan
        dC = (segment.h @ dy.unsqueeze(4)).squeeze(4)
        g = segment.C.unsqueeze(4) * dy.unsqueeze(3)
        _accumulate_backwards(segment, g, dh)
        ddecay_log = segment.decay.mul_(g)
        handed_back = ddecay_log[:, :, 0].clone()
        ddecay_log[:, :, 0] *= before
        ddecay_log[:, :, 1:] *= segment.h[:, :, :-1]

        ddrive = (segment.B.unsqueeze(3) @ g).squeeze(3)
        dB = (g @ segment.drive.unsqueeze(4)).squeeze(4)
        self.dA += (ddecay_log * segment.delta.unsqueeze(3)).sum((0, 2)).unsqueeze(1)
        ddelta = ddecay_log.mul_(scan.A).sum(3).addcmul_(ddrive, segment.u)
        dprojected = ddelta * segment.dt_projected.sigmoid()
        ddt = dprojected @ scan.dt_weight
        self.ddt_weight += (dprojected.transpose(2, 3) @ segment.dt).sum(0)
        self.ddt_bias += dprojected.sum((0, 2)).unsqueeze(1)
        self.dD_skip += (dy * segment.u).sum((0, 2)).unsqueeze(1)
        self.du[..., segment.tokens] = (ddrive * segment.delta).addcmul_(scan.D_skip, dy).transpose(2, 3)
        self.dx_dbl[..., segment.tokens] = torch.cat([ddt, dB, dC], dim=3).transpose(2, 3)
        return handed_back

    def inputs(self) -> tuple[Tensor, ...]:
        """Gradients of u, x_dbl, dt_weight, dt_bias, A and D_skip in the shapes of the inputs."""
        return (
            self.scan.in_token_order(self.du),
            self.scan.in_token_order(self.dx_dbl),
            self.ddt_weight,
            self.ddt_bias.squeeze(1),
            self.dA.squeeze(1).transpose(1, 2).contiguous(),
            self.dD_skip.squeeze(1),
        )


def _accumulate_backwards(segment: _Segment, g: Tensor, dh: Tensor) -> None:
    """Turn g, which holds C_t dy_t (B,K,T,N,D), into the states' whole gradients, in place."""
    *g_steps, g_last = segment.in_chunks(g)
    first_decay, *decays = segment.in_chunks(segment.decay)
    steps = list(zip(reversed(g_steps), reversed(decays), strict=True))
    handed_back = g_last.clone()
    for g_t, decay_next in steps:
        torch.addcmul(g_t, decay_next, handed_back, out=handed_back)
    handed_back *= first_decay

    after_chunks = [dh]
    kept_and_handed = list(zip(segment.chunk_decay(), handed_back.unbind(2), strict=True))
    for kept, handed in reversed(kept_and_handed[1:]):
        after_chunks.append(torch.addcmul(handed, kept, after_chunks[-1]))
    g_next = g_last.add_(torch.stack(after_chunks[::-1], dim=2))
    for g_t, decay_next in steps:
        g_next = g_t.addcmul_(decay_next, g_next)

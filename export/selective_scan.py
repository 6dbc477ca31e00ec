"""The bidirectional selective scan in PyTorch: forward and backward, a segment of tokens at a time.

Tokens are taken in segments whose (B, K, tokens, N, D) tensors fit `SEGMENT_BYTES`, so nothing of size L*D*N
ever exists. D is the innermost axis: every elementwise kernel then runs over contiguous channels.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from msdk_export.directions import Direction, to_steps, to_tokens

SEGMENT_BYTES = 4 << 20


class _Steps:
    """The op's inputs in step order."""

    def __init__(self, u, x_dbl, dt_weight, dt_bias, A, D_skip, directions: tuple[Direction, ...]):
        self.directions = directions
        self.batch, self.scans, self.channels, self.length = u.shape
        self.rank, self.states = dt_weight.shape[2], A.shape[2]
        self.dtype = torch.promote_types(A.dtype, torch.float32)
        self.u = self._rows(u)
        self.x_dbl = self._rows(x_dbl)
        self.dt_weight, self.dt_bias, self.D_skip = dt_weight, dt_bias.unsqueeze(1), D_skip.unsqueeze(1)
        self.A = A.transpose(1, 2).unsqueeze(1)

    def _rows(self, tokens: Tensor) -> Tensor:
        """(B, K, F, L) in token order -> (B, K, F, L) in step order."""
        if all(direction == Direction(1, False) for direction in self.directions):
            return tokens
        return torch.stack([to_steps(tokens[:, k], d) for k, d in enumerate(self.directions)], dim=1)

    def segments(self) -> Iterator[slice]:
        token_bytes = self.batch * self.scans * self.states * self.channels * self.A.element_size()
        tokens = max(1, SEGMENT_BYTES // token_bytes)
        for start in range(0, self.length, tokens):
            yield slice(start, min(start + tokens, self.length))

    def initial_state(self) -> Tensor:
        return self.A.new_zeros(self.batch, self.scans, self.states, self.channels, dtype=self.dtype)


class _Segment:
    """One segment's tensors: (B,K,T,D), B and C (B,K,T,N), decay and h (B,K,T,N,D)."""

    def __init__(self, steps: _Steps, tokens: slice):
        rank, states = steps.rank, steps.states
        self.u = steps.u[..., tokens].transpose(2, 3).to(steps.dtype).contiguous()
        rows = steps.x_dbl[..., tokens].transpose(2, 3).to(steps.dtype).contiguous()
        self.dt, self.B, self.C = rows.split([rank, states, states], dim=3)
        self.pre_delta = self.dt @ steps.dt_weight.transpose(1, 2) + steps.dt_bias
        self.delta = F.softplus(self.pre_delta)
        self.decay = (self.delta.unsqueeze(3) * steps.A).exp_()
        self.drive = self.delta * self.u
        self.h = self.B.unsqueeze(4) * self.drive.unsqueeze(3)

    def advance(self, h: Tensor) -> Tensor:
        """Turn the inputs in self.h into states, in place, from the state before; returns the last."""
        for decay, state in zip(self.decay.unbind(2), self.h.unbind(2), strict=True):
            h = state.addcmul_(decay, h)
        return h.clone()

    def outputs(self) -> Tensor:
        """C . h for every token: (B,K,T,D)."""
        return (self.C.unsqueeze(3) @ self.h).squeeze(3)


def scan_forward(u, x_dbl, dt_weight, dt_bias, A, D_skip, z, directions, scale) -> Tensor:
    """The op as in `msdk_export.ops.bidirectional_selective_scan`, with `directions` parsed."""
    steps = _Steps(u, x_dbl, dt_weight, dt_bias, A, D_skip, directions)
    y_steps = torch.empty_like(steps.u, dtype=steps.dtype, memory_format=torch.contiguous_format)
    h = steps.initial_state()
    for tokens in steps.segments():
        segment = _Segment(steps, tokens)
        h = segment.advance(h)
        y_steps[..., tokens] = (segment.outputs() + steps.D_skip * segment.u).transpose(2, 3)
    return _gated(_merge(y_steps, directions), z, scale).to(u.dtype)


def _merge(y_steps: Tensor, directions) -> Tensor:
    """Sum of the directions, back in token order: (B,K,D,L) -> (B,D,L)."""
    return sum(to_tokens(y_steps[:, k], direction) for k, direction in enumerate(directions))


def _gated(y: Tensor, z: Tensor | None, scale: float) -> Tensor:
    gate = 1.0 if z is None else F.silu(z.to(y.dtype))
    return y * gate * scale

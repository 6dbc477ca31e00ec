"""KAN layer arithmetic in PyTorch: cubic B-splines on uniform knots, a block of tokens at a time."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from msdk_export.ops.causal_conv import silu_slope

BLOCK_BYTES = 1 << 20


def kan_forward(
    x: Tensor, base_weight: Tensor, spline_weight: Tensor, grid_min: float, grid_max: float
) -> Tensor:
    """The op as in `torch.ops.msdk.kan_linear`; the basis exists for one block of tokens only."""
    weight = _joined(base_weight, spline_weight)
    splines = _Splines(spline_weight.shape[2], grid_min, grid_max)
    y = x.new_empty(x.shape[0], base_weight.shape[0], x.shape[2])
    for tokens in _blocks(x, weight):
        y[..., tokens] = weight @ splines.features(x[..., tokens].to(weight.dtype))
    return y


def kan_backward(
    dy: Tensor, x: Tensor, base_weight: Tensor, spline_weight: Tensor, grid_min: float, grid_max: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of x, base_weight and spline_weight from dy (B,O,L), the basis recomputed block by block."""
    weight = _joined(base_weight, spline_weight)
    splines = _Splines(spline_weight.shape[2], grid_min, grid_max)
    dx, dweight = torch.empty_like(x, memory_format=torch.contiguous_format), torch.zeros_like(weight)
    for tokens in _blocks(x, weight):
        x_block, dy_block = x[..., tokens].to(weight.dtype), dy[..., tokens].to(weight.dtype)
        dweight += torch.einsum("bot,bft->of", dy_block, splines.features(x_block))
        slopes = splines.slopes(x_block).mul_(weight.t() @ dy_block)
        dx[..., tokens] = slopes.unflatten(1, (-1, x.shape[1])).sum(1)
    dbase, dspline = dweight.unflatten(1, (-1, x.shape[1])).split([1, spline_weight.shape[2]], dim=1)
    dbase, dspline = dbase.squeeze(1), dspline.transpose(1, 2)
    return dx, torch.empty_like(base_weight).copy_(dbase), torch.empty_like(spline_weight).copy_(dspline)


def _joined(base_weight: Tensor, spline_weight: Tensor) -> Tensor:
    """(O, (1 + G) * C): the weights of SiLU(x) and of every basis, one matrix."""
    dtype = torch.promote_types(base_weight.dtype, torch.float32)
    return torch.cat([base_weight.unsqueeze(1), spline_weight.transpose(1, 2)], dim=1).flatten(1).to(dtype)


def _blocks(x: Tensor, weight: Tensor) -> Iterator[slice]:
    tokens = max(1, BLOCK_BYTES // (x.shape[0] * weight.shape[1] * weight.element_size()))
    for start in range(0, x.shape[2], tokens):
        yield slice(start, start + tokens)


class _Splines(NamedTuple):
    """SiLU and the cubic B-splines of a grid: every value a KAN layer weighs for one x.

    Basis g is the cardinal cubic B-spline centred two knots after its first: with w the distance to the
    centre in knots, (max(2 - w, 0)^3 - 4 max(1 - w, 0)^3) / 6.
    """

    bases: int
    grid_min: float
    grid_max: float

    def features(self, x: Tensor) -> Tensor:
        """x (B,C,T) -> SiLU(x), B_0(x), .. B_{G-1}(x) as (B, (1 + G) * C, T)."""
        w = self._offset(x).abs_()
        splines = ((2 - w).clamp_(min=0).pow_(3) - (1 - w).clamp_(min=0).pow_(3).mul_(4)).div_(6)
        return torch.cat([F.silu(x).unsqueeze(1), splines], dim=1).flatten(1, 2)

    def slopes(self, x: Tensor) -> Tensor:
        """The derivative of every feature with respect to its x, laid out as features."""
        offset = self._offset(x)
        w = offset.abs()
        inward = (2 - w).clamp_(min=0).square_() / 2 - (1 - w).clamp_(min=0).square_().mul_(2)
        splines = inward * offset.sign_().mul_(-self._knots_per_unit())
        return torch.cat([silu_slope(x).unsqueeze(1), splines], dim=1).flatten(1, 2)

    def _offset(self, x: Tensor) -> Tensor:
        """x less the centre of every basis, in knots: (B,C,T) -> (B,G,C,T)."""
        centres = torch.arange(self.bases, dtype=x.dtype, device=x.device).sub_(1).view(-1, 1, 1)
        return (x.unsqueeze(1) - self.grid_min) * self._knots_per_unit() - centres

    def _knots_per_unit(self) -> float:
        return (self.bases - 3) / (self.grid_max - self.grid_min)

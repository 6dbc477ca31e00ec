"""KAN layer arithmetic in PyTorch: cubic B-splines on uniform knots, a block of tokens at a time."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

BLOCK_BYTES = 16 << 20


def kan_forward(
    x: Tensor, base_weight: Tensor, spline_weight: Tensor, grid_min: float, grid_max: float
) -> Tensor:
    """The op as in `msdk_export.ops.kan_linear`; the basis exists for one block of tokens only."""
    weight = _joined(base_weight, spline_weight)
    y = x.new_empty(x.shape[0], base_weight.shape[0], x.shape[2])
    for tokens in _blocks(x, weight):
        features, _ = _features(x[..., tokens].to(weight.dtype), spline_weight.shape[2], grid_min, grid_max)
        y[..., tokens] = weight @ features
    return y


def _joined(base_weight: Tensor, spline_weight: Tensor) -> Tensor:
    """(O, (1 + G) * C): the weights of SiLU(x) and of every basis, one matrix."""
    return torch.cat([base_weight.unsqueeze(1), spline_weight.transpose(1, 2)], dim=1).flatten(1)


def _blocks(x: Tensor, weight: Tensor) -> Iterator[slice]:
    tokens = max(1, BLOCK_BYTES // (x.shape[0] * weight.shape[1] * weight.element_size()))
    for start in range(0, x.shape[2], tokens):
        yield slice(start, start + tokens)


def _features(x: Tensor, bases: int, grid_min: float, grid_max: float) -> tuple[Tensor, Tensor]:
    """SiLU(x), B_0(x) .. B_{G-1}(x) as (B, (1 + G) * C, T), and x less the bases' centres (in knots).

    Basis g is the cardinal cubic B-spline centred at knot g + 2: with w the distance to the centre,
    (max(2 - w, 0)^3 - 4 max(1 - w, 0)^3) / 6.
    """
    per_knot = (bases - 3) / (grid_max - grid_min)
    centres = torch.arange(bases, dtype=x.dtype, device=x.device).sub_(1).view(-1, 1, 1)
    offset = (x.unsqueeze(1) - grid_min) * per_knot - centres
    w = offset.abs()
    splines = ((2 - w).clamp_(min=0).pow_(3) - 4 * (1 - w).clamp_(min=0).pow_(3)).div_(6)
    return torch.cat([F.silu(x).unsqueeze(1), splines], dim=1).flatten(1, 2), offset

"""Kolmogorov-Arnold layers on channels-first tokens: every edge has a learnt cubic spline beside its SiLU."""

import math
from typing import Any

import torch
from torch import Tensor, nn

import msdk_export.ops  # noqa: F401  registers the msdk operators
from msdk_rt.errors import CheckpointError

GRID_MIN, GRID_MAX = -1.0, 1.0
SPLINE_ORDER = 3
GRID_LIMIT = 1e-4  # that a knot may be from its place


class KANLinear(nn.Module):
    """Cubic B-spline KAN layer: tokens (B, in, L) -> (B, out, L).

    y[b,o,l] = sum_c base_weight[o,c] SiLU(x[b,c,l])
             + sum_{c,g} spline_scaler[o,c] spline_weight[o,c,g] B_g(x[b,c,l])

    on `grid_size` uniform intervals of [-1, 1], hence G = grid_size + 3 bases, each zero outside its knots.
    Names, shapes and values are those of efficient-kan's KANLinear (there the token axis comes before the
    channels). A state dict without spline_scaler, from enable_standalone_scale_spline=False, gets one of
    ones. One whose grid differs, for instance adapted with update_grid, raises CheckpointError.
    """

    grid: Tensor  # (in, G + 4) knots

    def __init__(self, in_features: int, out_features: int, grid_size: int = 5):
        super().__init__()
        bases = grid_size + SPLINE_ORDER
        self.base_weight = nn.Parameter(torch.empty(out_features, in_features))
        self.spline_weight = nn.Parameter(torch.empty(out_features, in_features, bases))
        self.spline_scaler = nn.Parameter(torch.empty(out_features, in_features))
        spacing = (GRID_MAX - GRID_MIN) / grid_size
        knots = GRID_MIN + (torch.arange(bases + SPLINE_ORDER + 1) - SPLINE_ORDER) * spacing
        self.register_buffer("grid", knots.repeat(in_features, 1))

        nn.init.kaiming_uniform_(self.base_weight, a=math.sqrt(5))
        nn.init.kaiming_uniform_(self.spline_scaler, a=math.sqrt(5))
        nn.init.uniform_(self.spline_weight, -0.05 / grid_size, 0.05 / grid_size)

    def forward(self, tokens: Tensor) -> Tensor:
        spline_weight = self.spline_weight * self.spline_scaler.unsqueeze(-1)
        y: Tensor = torch.ops.msdk.kan_linear(tokens, self.base_weight, spline_weight, GRID_MIN, GRID_MAX)
        return y

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *args: Any) -> None:
        grid = state_dict.get(f"{prefix}grid")
        if grid is not None and grid.shape == self.grid.shape:
            difference = self._difference(grid)
            if not difference <= GRID_LIMIT:
                raise CheckpointError(
                    f"{prefix}grid is not the uniform grid of {self.grid.shape[1]} knots around "
                    f"[{GRID_MIN:g}, {GRID_MAX:g}] (largest difference {difference:.3g}): only uniform grids "
                    "are supported, so train without update_grid or refit the splines on the uniform grid"
                )
            state_dict[f"{prefix}grid"] = self.grid  # as float16 it was rounded
        if f"{prefix}spline_weight" in state_dict:
            state_dict.setdefault(f"{prefix}spline_scaler", torch.ones_like(self.spline_scaler))
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _difference(self, grid: Tensor) -> float:
        """The largest distance of a knot from its uniform place, beyond what rounding to its type takes.

        What was float16 or bfloat16 once, and is float32 in the file, still has values of that type.
        """
        differences = [float("inf")]
        for dtype in {grid.dtype, torch.float16, torch.bfloat16}:
            if dtype.is_floating_point and torch.equal(grid.to(dtype).to(grid.dtype), grid):
                distance = (grid.float() - self.grid.to(dtype).float()).abs()
                rounding = torch.finfo(dtype).eps * self.grid.abs()
                differences.append((distance - rounding).clamp(min=0).max().item())
        return min(differences)


class KANFeedForward(nn.Sequential):
    """Two KAN layers, C -> ratio * C -> C, on tokens (B, C, L)."""

    def __init__(self, channels: int, ratio: float = 1, grid_size: int = 5):
        hidden = round(channels * ratio)
        super().__init__(KANLinear(channels, hidden, grid_size), KANLinear(hidden, channels, grid_size))

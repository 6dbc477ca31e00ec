"""CrossScan: VMamba's selective scan of a 2D feature map along rows and columns, both ways."""

import torch
from torch import Tensor, nn

from msdk_export.ops.mamba_ssm_scan import selective_scan


class CrossScan(nn.Module):
    """Four directed scans of one feature map, summed: (B, D, H, W) -> (B, D, H, W).

    Scan 0 reads row by row, scan 1 column by column, 2 and 3 the same from their ends. Parameter names and
    shapes are those of VMamba's SS2D, with R = dt_rank and N = d_state: x_proj_weight (4, R + 2N, D),
    dt_projs_weight (4, D, R), dt_projs_bias (4, D), A_logs (4D, N), Ds (4D).
    Source: Liu et al., VMamba (arXiv 2401.10166); order of the scans from MzeroMiko/VMamba, CrossScan.
    """

    def __init__(self, channels: int, d_state: int, dt_rank: int):
        super().__init__()
        self.x_proj_weight = nn.Parameter(torch.empty(4, dt_rank + 2 * d_state, channels))
        self.dt_projs_weight = nn.Parameter(torch.empty(4, channels, dt_rank))
        self.dt_projs_bias = nn.Parameter(torch.empty(4, channels))
        self.A_logs = nn.Parameter(torch.empty(4 * channels, d_state))
        self.Ds = nn.Parameter(torch.empty(4 * channels))

    def forward(self, x: Tensor) -> Tensor:
        height = x.shape[2]
        tokens = x.flatten(2).unsqueeze(1)
        y = selective_scan(
            tokens.expand(-1, 4, -1, -1),
            self.x_proj_weight @ tokens,
            self.dt_projs_weight,
            self.dt_projs_bias,
            -self.A_logs.exp().unflatten(0, (4, -1)),
            self.Ds.unflatten(0, (4, -1)),
            None,
            f"forward,slices:{height},backward,slices:{height}:backward",
            1.0,
        )
        maps: Tensor = y.unflatten(2, x.shape[2:])
        return maps

"""VMamba's SS2D around its compiled functions, in its vintages."""

import functools

import torch
import torch.nn.functional as F
from torch import nn

from tests.support.published import gpu
from tests.support.published.csm_triton import CrossMergeTriton, CrossScanTriton
from tests.support.published.selective_scan_interface import selective_scan_fn
from tests.support.published_blocks import FourWayMixer


class SelectiveScanOflex(torch.autograd.Function):
    @staticmethod
    def forward(ctx, u, delta, A, B, C, D=None, delta_bias=None, delta_softplus=False, nrows=1, backnrows=1):
        gpu.check("u")
        return selective_scan_fn(u, delta, A, B, C, D, None, delta_bias, delta_softplus)


class CrossScan(torch.autograd.Function):
    """In plain PyTorch: it runs on a CPU."""

    @staticmethod
    def forward(ctx, x):
        batch, channels, height, width = x.shape
        xs = x.new_empty((batch, 4, channels, height * width))
        xs[:, 0] = x.flatten(2, 3)
        xs[:, 1] = x.transpose(2, 3).flatten(2, 3)
        xs[:, 2:4] = torch.flip(xs[:, 0:2], dims=[-1])
        return xs


class CrossMerge(torch.autograd.Function):
    @staticmethod
    def forward(ctx, ys):
        batch, scans, channels, height, width = ys.shape
        ys = ys.view(batch, scans, channels, -1)
        ys = ys[:, 0:2] + ys[:, 2:4].flip(dims=[-1])
        columns = ys[:, 1].view(batch, -1, width, height).transpose(2, 3).contiguous()
        return ys[:, 0] + columns.view(batch, channels, -1)


class SS2D(FourWayMixer):
    """forward is an attribute; the order of the tokens is bound in forward_core, as in the published code.

    orders: (CrossScan, CrossMerge). newest: x_proj and dt_projs are modules.
    """

    def __init__(
        self, d_model, z="act", orders=(CrossScan, CrossMerge), newest=False, cascade=False, **options
    ):
        super().__init__(d_model, z, **options)
        self.forward = self.forwardv2
        scan, merge = orders
        options = {"cascade2d": True} if cascade else {}
        self.forward_core = functools.partial(
            self.forward_corev2, force_fp32=True, CrossScan=scan, CrossMerge=merge, **options
        )
        self.newest = newest
        if newest:
            rows, inner = self.x_proj_weight.shape[1:]
            rank = self.dt_projs_weight.shape[2]
            del self.x_proj_weight, self.dt_projs_weight
            self.x_proj, self.dt_projs = nn.Module(), nn.Module()
            self.x_proj.weight = nn.Parameter(torch.zeros(4 * rows, inner))
            self.dt_projs.weight = nn.Parameter(torch.zeros(4 * inner, rank))

    def forwardv2(self, x):
        x = self.in_proj(x)
        if self.z != "none":
            x, z = x.chunk(2, dim=1 if self.first else -1)
        x = x if self.first else x.permute(0, 3, 1, 2)
        x = F.silu(self.conv2d(x) if hasattr(self, "conv2d") else x)
        y = self.forward_core(x)
        y = self.out_norm(y if self.first else y.permute(0, 2, 3, 1))
        if self.z != "none":
            y = y * (F.silu(z) if self.z == "act" else z)
        return self.dropout(self.out_proj(y))

    def forward_corev2(self, x, force_fp32, CrossScan, CrossMerge, cascade2d=False):
        batch, inner, height, width = x.shape
        rows, dts = self.weights(inner)
        xs = CrossScan.apply(x)
        if cascade2d:
            xs = torch.cat([xs[:, :2].roll(1, -1), xs[:, 2:]], 1)
        states, rank = self.A_logs.shape[1], dts.shape[2]
        x_dbl = torch.einsum("b k d l, k c d -> b k c l", xs, rows)
        dt, B, C = x_dbl.split([rank, states, states], dim=2)
        delta = torch.einsum("b k r l, k d r -> b k d l", dt, dts)
        ys = SelectiveScanOflex.apply(
            xs.reshape(batch, -1, height * width),
            delta.reshape(batch, -1, height * width),
            -torch.exp(self.A_logs.float()),
            B.contiguous(),
            C.contiguous(),
            self.Ds.float(),
            self.dt_projs_bias.reshape(-1).float(),
            True,
            1,
            1,
        ).view(batch, 4, -1, height, width)
        return CrossMerge.apply(ys).view(batch, -1, height, width)

    def weights(self, inner):
        if not self.newest:
            return self.x_proj_weight, self.dt_projs_weight
        return self.x_proj.weight.view(4, -1, inner), self.dt_projs.weight.view(4, inner, -1)


TRITON = CrossScanTriton, CrossMergeTriton

"""VMamba's orders of tokens on Triton: a module's own class, and local classes that share its name."""

import torch

from tests.support.published import gpu


def ways(x):
    return torch.stack([x.flatten(2), x.transpose(2, 3).flatten(2)], 1)


class CrossScanTriton(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        gpu.check("0 active drivers: x")
        both = ways(x)
        return torch.cat([both, both.flip(-1)], 1)


class CrossMergeTriton(torch.autograd.Function):
    @staticmethod
    def forward(ctx, ys):
        gpu.check("0 active drivers: ys")
        batch, _, channels, height, width = ys.shape
        ys = ys.flatten(3)
        ys = ys[:, :2] + ys[:, 2:].flip(-1)
        columns = ys[:, 1].reshape(batch, channels, width, height).transpose(2, 3)
        return ys[:, 0] + columns.reshape(batch, channels, -1)


def getCSM(directions):
    """1: rows four times; 2: rows, both ways, each twice. Both are called CrossScanTriton."""

    class CrossScanTriton(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            gpu.check("0 active drivers: x")
            rows = x.flatten(2).unsqueeze(1)
            return torch.cat([rows, rows, *[rows.flip(-1) if directions == 2 else rows] * 2], 1)

    class CrossMergeTriton(torch.autograd.Function):
        @staticmethod
        def forward(ctx, ys):
            gpu.check("0 active drivers: ys")
            ys = ys.flatten(3)
            return ys[:, :2].sum(1) + (ys[:, 2:].flip(-1) if directions == 2 else ys[:, 2:]).sum(1)

    return CrossScanTriton, CrossMergeTriton

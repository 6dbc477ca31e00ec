"""The network of the brain mask, in PyTorch; msdk_rt.inference.brain_mask runs the same in NumPy."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WIDTHS = (8, 16, 24, 32)  # channels of each level; each halves the resolution of the one before
SLOPE = 0.01  # of the leaky ReLU


class Block(nn.Module):
    """Convolution of 3^3, instance norm, leaky ReLU."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.conv = nn.Conv3d(inputs, outputs, 3, padding=1, bias=False)
        self.norm = nn.InstanceNorm3d(outputs, affine=True)

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(self.norm(self.conv(x)), SLOPE)


class BrainMaskNet(nn.Module):
    """(B, 1, D, H, W), sides multiples of 8, intensities as `scaled` gives -> logits (B, 1, D, H, W)."""

    def __init__(self, widths: tuple[int, ...] = WIDTHS):
        super().__init__()
        self.widths = widths
        before = (1, *widths[:-1])
        self.down = nn.ModuleList(
            nn.Sequential(Block(a, b), Block(b, b)) for a, b in zip(before, widths, strict=True)
        )
        self.up = nn.ModuleList(
            Block(low + high, high) for low, high in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )
        self.head = nn.Conv3d(widths[0], 1, 1)

    def blocks(self) -> list[Block]:
        """All blocks in the order in which they run."""
        return [module for module in self.modules() if isinstance(module, Block)]

    def forward(self, x: Tensor) -> Tensor:
        skips = []
        for level, blocks in enumerate(self.down):
            x = blocks(F.max_pool3d(x, 2) if level else x)
            skips.append(x)
        for block, skip in zip(self.up, skips[-2::-1], strict=True):
            x = block(torch.cat([F.interpolate(x, scale_factor=2.0, mode="nearest"), skip], 1))
        logits: Tensor = self.head(x)
        return logits


def scaled(image: Tensor) -> Tensor:
    """Intensities (..., D, H, W) from 0, relative to the mean of those above the mean; at most 4."""
    image = image - image.amin(dim=(-3, -2, -1), keepdim=True)
    mean = image.mean(dim=(-3, -2, -1), keepdim=True)
    bright = image > mean
    level = (image * bright).sum(dim=(-3, -2, -1), keepdim=True) / bright.sum(
        dim=(-3, -2, -1), keepdim=True
    ).clamp(min=1)
    return (image / level.clamp(min=1e-12)).clamp(max=4.0)

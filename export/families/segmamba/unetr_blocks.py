"""UNETR's residual convolution blocks, with the parameter names of MONAI's.

Sources: Hatamizadeh et al., "UNETR", arXiv 2103.10504; MONAI's networks.blocks.unetr_block and
dynunet_block, in three dimensions, with kernel 3, stride 1, instance normalisation without weights (eps 1e-5)
and leaky ReLU (slope 0.01). Feature maps are (B, C, D, H, W).
"""

from collections import OrderedDict

import torch
from torch import Tensor, nn


def _named(conv: nn.Module) -> nn.Sequential:
    """The convolution one level down, as `conv`, where MONAI's Convolution keeps it."""
    return nn.Sequential(OrderedDict(conv=conv))


def _conv(channels: int, out_channels: int, kernel_size: int) -> nn.Sequential:
    return _named(nn.Conv3d(channels, out_channels, kernel_size, padding=kernel_size // 2, bias=False))


class UnetResBlock(nn.Module):
    """Two normalised convolutions and a residual, which conv3 widens where the channel counts differ."""

    def __init__(self, channels: int, out_channels: int):
        super().__init__()
        self.conv1 = _conv(channels, out_channels, 3)
        self.conv2 = _conv(out_channels, out_channels, 3)
        self.norm = nn.InstanceNorm3d(out_channels)
        self.activation = nn.LeakyReLU(0.01)
        self.conv3 = _conv(channels, out_channels, 1) if channels != out_channels else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.conv2(self.activation(self.norm(self.conv1(x)))))
        shortcut = x if self.conv3 is None else self.norm(self.conv3(x))
        activated: Tensor = self.activation(y + shortcut)
        return activated


class UnetrBasicBlock(nn.Module):
    """A residual block under the name `layer`."""

    def __init__(self, channels: int, out_channels: int):
        super().__init__()
        self.layer = UnetResBlock(channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layer(x)
        return y


class UnetrUpBlock(nn.Module):
    """Doubles every side, appends the skip's channels, mixes: (B, channels, ..) -> (B, out_channels, ..)."""

    def __init__(self, channels: int, out_channels: int):
        super().__init__()
        doubling = nn.ConvTranspose3d(channels, out_channels, kernel_size=2, stride=2, bias=False)
        self.transp_conv = _named(doubling)
        self.conv_block = UnetResBlock(2 * out_channels, out_channels)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        y: Tensor = self.conv_block(torch.cat((self.transp_conv(x), skip), dim=1))
        return y


class UnetOutBlock(nn.Module):
    """A 1x1x1 convolution with a bias, under the name `conv.conv`."""

    def __init__(self, channels: int, out_channels: int):
        super().__init__()
        self.conv = _named(nn.Conv3d(channels, out_channels, kernel_size=1))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x)
        return y

"""SegMamba as published: MONAI's blocks, tokens (B, L, C), and the oracle for its three scans.

The layers and their names are those of ge-xing/SegMamba (model_segmamba/segmamba.py, and bimamba_type "v3" of
its fork of mamba_ssm): sequences are flipped, or cut into slices and interleaved, before each scan and turned
back after it. Nothing of this project is used but the oracle.
"""

import math

import torch
from monai.networks.blocks.dynunet_block import UnetOutBlock
from monai.networks.blocks.unetr_block import UnetrBasicBlock, UnetrUpBlock
from torch import nn
from torch.nn import functional as F

from tests.support import oracle


class Mamba(nn.Module):
    """Tokens (B, L, C) -> (B, L, C)."""

    def __init__(self, channels, nslices, d_state, d_conv, expand):
        super().__init__()
        inner, self.rank = expand * channels, math.ceil(channels / 16)
        self.nslices = nslices
        self.in_proj = nn.Linear(channels, 2 * inner, bias=False)
        self.out_proj = nn.Linear(inner, channels, bias=False)
        for suffix in ("", "_b", "_s"):
            conv = nn.Conv1d(inner, inner, d_conv, groups=inner, padding=d_conv - 1)
            self.add_module(f"conv1d{suffix}", conv)
            self.add_module(f"x_proj{suffix}", nn.Linear(inner, self.rank + 2 * d_state, bias=False))
            self.add_module(f"dt_proj{suffix}", nn.Linear(self.rank, inner))
            self.register_parameter(f"A{suffix}_log", nn.Parameter(torch.rand(inner, d_state) * 3))
            self.register_parameter(f"D{suffix}", nn.Parameter(torch.randn(inner)))

    def forward(self, tokens):
        batch, length, _ = tokens.shape
        xz = self.in_proj(tokens).transpose(1, 2)
        y = self.scanned(xz, "") + self.scanned(xz.flip(-1), "_b").flip(-1)
        interleaved = torch.stack(xz.chunk(self.nslices, dim=-1), dim=-1).flatten(-2)
        y_s = self.scanned(interleaved, "_s")
        y_s = y_s.reshape(batch, -1, length // self.nslices, self.nslices).permute(0, 1, 3, 2).flatten(-2)
        return self.out_proj((y + y_s).transpose(1, 2))

    def scanned(self, xz, suffix):
        """x and z (B, 2D, L) in the order of the scan -> gated y (B, D, L)."""
        x, z = xz.chunk(2, dim=1)
        x_proj, dt_proj = self.get_submodule(f"x_proj{suffix}"), self.get_submodule(f"dt_proj{suffix}")
        u = F.silu(self.get_submodule(f"conv1d{suffix}")(x)[..., : x.shape[-1]])
        x_dbl = x_proj(u.transpose(1, 2)).transpose(1, 2)
        A, D = -getattr(self, f"A{suffix}_log").exp(), getattr(self, f"D{suffix}")
        arrays = (u[:, None], x_dbl[:, None], dt_proj.weight[None], dt_proj.bias[None], A[None], D[None], z)
        y = oracle.bidirectional_selective_scan(*(array.numpy() for array in arrays), directions="forward")
        return torch.from_numpy(y).to(xz.dtype)


class MambaLayer(nn.Module):
    """residual: False for the code before its commit 1039e37 of 2024-06-05."""

    def __init__(self, channels, *sizes, residual):
        super().__init__()
        self.residual = residual
        self.norm = nn.LayerNorm(channels)
        self.mamba = Mamba(channels, *sizes)

    def forward(self, x):
        tokens = x.flatten(2).transpose(1, 2)
        scanned = self.mamba(self.norm(tokens)).transpose(1, 2).reshape(x.shape)
        return scanned + x if self.residual else scanned


class GSC(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.proj = nn.Conv3d(channels, channels, 3, padding=1)
        self.proj2 = nn.Conv3d(channels, channels, 3, padding=1)
        self.proj3 = nn.Conv3d(channels, channels, 1)
        self.proj4 = nn.Conv3d(channels, channels, 1)

    def forward(self, x):
        wide = F.relu(F.instance_norm(self.proj(x)))
        wide = F.relu(F.instance_norm(self.proj2(wide)))
        point = F.relu(F.instance_norm(self.proj3(x)))
        return F.relu(F.instance_norm(self.proj4(wide + point))) + x


class Mlp(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.fc1 = nn.Conv3d(channels, 2 * channels, 1)
        self.fc2 = nn.Conv3d(2 * channels, channels, 1)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x)))


class Encoder(nn.Module):
    def __init__(self, in_channels, dims, depths, nslices, *sizes, residual):
        super().__init__()
        stem = nn.Sequential(nn.Conv3d(in_channels, dims[0], 7, stride=2, padding=3))
        downsamples = [
            nn.Sequential(nn.InstanceNorm3d(dims[i]), nn.Conv3d(dims[i], dims[i + 1], 2, stride=2))
            for i in range(3)
        ]
        self.downsample_layers = nn.ModuleList([stem, *downsamples])
        self.stages = nn.ModuleList(
            nn.Sequential(
                *(MambaLayer(dims[i], nslices[i], *sizes, residual=residual) for _ in range(depths[i]))
            )
            for i in range(4)
        )
        self.gscs = nn.ModuleList(GSC(width) for width in dims)
        self.mlps = nn.ModuleList(Mlp(width) for width in dims)

    def forward(self, x):
        outs = []
        for i in range(4):
            x = self.stages[i](self.gscs[i](self.downsample_layers[i](x)))
            outs.append(self.mlps[i](F.instance_norm(x)))
        return outs


class PublishedSegMamba(nn.Module):
    """image (B, C, D, H, W) -> logits (B, K, D, H, W), of the sizes that a SegMambaConfig has."""

    def __init__(self, config):
        super().__init__()
        dims, hidden = config.dims, config.hidden_size
        sizes = (config.d_state, config.d_conv, config.expand)
        self.vit = Encoder(
            config.in_channels, dims, config.depths, config.nslices, *sizes, residual=config.residual
        )

        def basic(channels, out_channels):
            return UnetrBasicBlock(3, channels, out_channels, 3, 1, "instance", res_block=True)

        def up(channels, out_channels):
            return UnetrUpBlock(3, channels, out_channels, 3, 2, "instance", res_block=True)

        self.encoder1 = basic(config.in_channels, dims[0])
        self.encoder2 = basic(dims[0], dims[1])
        self.encoder3 = basic(dims[1], dims[2])
        self.encoder4 = basic(dims[2], dims[3])
        self.encoder5 = basic(dims[3], hidden)
        self.decoder5 = up(hidden, dims[3])
        self.decoder4 = up(dims[3], dims[2])
        self.decoder3 = up(dims[2], dims[1])
        self.decoder2 = up(dims[1], dims[0])
        self.decoder1 = basic(dims[0], dims[0])
        self.out = UnetOutBlock(3, dims[0], config.num_classes)

    def forward(self, image):
        x2, x3, x4, x5 = self.vit(image)
        dec3 = self.decoder5(self.encoder5(x5), self.encoder4(x4))
        dec2 = self.decoder4(dec3, self.encoder3(x3))
        dec1 = self.decoder3(dec2, self.encoder2(x2))
        dec0 = self.decoder2(dec1, self.encoder1(image))
        return self.out(self.decoder1(dec0))

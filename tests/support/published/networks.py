"""One layer of every published family, and what its vintages change."""

import torch
from torch import nn

from tests.support.published import layernorm
from tests.support.published.csm_triton import getCSM
from tests.support.published.mamba_simple import Mamba
from tests.support.published.vmamba import SS2D, TRITON


class Tokens(nn.Module):
    """A 3D feature map through a mixer of tokens, with or without norm and residual:

    U-Mamba's, SegMamba's.
    """

    def __init__(self, mixer, residual):
        super().__init__()
        self.mamba, self.norm, self.residual = mixer, nn.LayerNorm(6), residual

    def forward(self, x):
        batch, channels = x.shape[:2]
        tokens = x.reshape(batch, channels, -1).transpose(-1, -2)
        out = self.mamba(self.norm(tokens)).transpose(-1, -2).reshape(x.shape)
        return out + x if self.residual else out


class LightM(nn.Module):
    """LightM-UNet's: Mamba, a scaled skip, norm, projection."""

    def __init__(self):
        super().__init__()
        self.mamba, self.norm, self.proj = Mamba(6), nn.LayerNorm(6), nn.Linear(6, 4)
        self.skip_scale = nn.Parameter(torch.ones(1))

    def forward(self, x):
        tokens = self.norm(x.flatten(2).transpose(1, 2))
        mixed = self.mamba(tokens) + self.skip_scale * tokens
        return self.proj(self.norm(mixed)).transpose(1, 2).reshape(x.shape[0], 4, *x.shape[2:])


class FourTimes(nn.Module):
    """nnMamba's: one block reads the tokens four ways."""

    def __init__(self):
        super().__init__()
        self.mamba = Mamba(6)

    def forward(self, x):
        flat = x.flatten(2)
        y = self.mamba(flat.transpose(1, 2)) + self.mamba(flat.flip(-1).transpose(1, 2)).flip(1)
        other = x.transpose(2, 4).flatten(2)
        y = y + self.mamba(other.transpose(1, 2)) + self.mamba(other.flip(-1).transpose(1, 2)).flip(1)
        return y.transpose(1, 2).reshape(x.shape)


class OutsideProjection(nn.Module):
    """LKM-UNet's: the block's out_proj is nn.Identity, and the projection is the layer's own."""

    def __init__(self):
        super().__init__()
        self.block, self.out = Mamba(6, use_fast_path=False), nn.Linear(12, 6)
        self.block.out_proj = nn.Identity()

    def forward(self, x):
        return self.out(self.block(x.flatten(2).transpose(1, 2))).transpose(1, 2).reshape(x.shape)


class Frequencies(nn.Module):
    """EM-Net's: the block sees tokens and their Fourier amplitudes are mixed beside it."""

    def __init__(self):
        super().__init__()
        self.mamba, self.scale = Mamba(6), nn.Parameter(torch.ones(6, 1))

    def forward(self, x):
        tokens = x.flatten(2)
        return (self.mamba(tokens.transpose(1, 2)).transpose(1, 2) + self.scale * tokens).reshape(x.shape)


class VimBlock(nn.Module):
    """Vim's, with Triton's fused add and norm or without."""

    def __init__(self, mixer, fused):
        super().__init__()
        self.mixer, self.norm, self.fused = mixer, layernorm.RMSNorm(6), fused

    def forward(self, hidden_states, residual=None):
        if self.fused:
            hidden_states, residual = layernorm.rms_norm_fn(
                hidden_states,
                self.norm.weight,
                self.norm.bias,
                residual=residual,
                prenorm=True,
                residual_in_fp32=True,
                eps=self.norm.eps,
            )
        else:
            residual = hidden_states if residual is None else hidden_states + residual
            hidden_states = self.norm(residual)
        return self.mixer(hidden_states, inference_params=None), residual


class Vim(nn.Module):
    def __init__(self, fused, **mixer):
        super().__init__()
        self.layers = nn.ModuleList(VimBlock(Mamba(6, **mixer), fused) for _ in range(2))

    def forward(self, x):
        hidden, residual = x.flatten(2).transpose(1, 2), None
        for layer in self.layers:
            hidden, residual = layer(hidden, residual)
        return hidden + residual


class Plane(nn.Module):
    """An SS2D block on the first slice of a feature map."""

    def __init__(self, block):
        super().__init__()
        self.op = block

    def forward(self, x):
        plane = x[:, :, 0]
        return self.op(plane if self.op.first else plane.permute(0, 2, 3, 1))


V2 = {"bimamba_type": "v2"}
FAMILIES = {
    "U-Mamba Bot, Enc": lambda: Tokens(Mamba(6), False),
    "U-Mamba, use_fast_path=False": lambda: Tokens(Mamba(6, use_fast_path=False), False),
    "SegMamba, to June 2024": lambda: Tokens(Mamba(6, "v3", nslices=4), False),
    "SegMamba, since": lambda: Tokens(Mamba(6, "v3", nslices=4), True),
    "LightM-UNet": LightM,
    "nnMamba": FourTimes,
    "LKM-UNet": OutsideProjection,
    "EM-Net": Frequencies,
    "Vim v1": lambda: Vim(False, bimamba_type="v1"),
    "Vim v2": lambda: Vim(True, **V2, if_devide_out=False),
    "Vim v2, halved, layer scale": lambda: Vim(True, **V2, if_devide_out=True, init_layer_scale=0.1),
    "Vim v2, use_fast_path=False": lambda: Vim(True, **V2, if_devide_out=True, use_fast_path=False),
    "VMamba v1 (plain CrossScan)": lambda: Plane(SS2D(6, attributes=False)),
    "VMamba v05 (Triton)": lambda: Plane(SS2D(6, orders=TRITON)),
    "VMamba v05, without z": lambda: Plane(SS2D(6, "none", orders=TRITON)),
    "VMamba, channels first": lambda: Plane(SS2D(6, channel_first=True)),
    "VMamba, without conv2d": lambda: Plane(SS2D(6, d_conv=1)),
    "VMamba, newest names": lambda: Plane(SS2D(6, newest=True)),
    "Swin-UMamba": lambda: Plane(SS2D(6, attributes=False)),
    "VMamba cascade2d": lambda: Plane(SS2D(6, cascade=True)),
}
UNKNOWN_ORDERS = {
    "VMamba v051d": lambda: Plane(SS2D(6, orders=getCSM(1))),
    "VMamba v052d": lambda: Plane(SS2D(6, orders=getCSM(2))),
}

"""Blocks and networks with the parameter and attribute names of published code, scanned step by step.

mamba_ssm and its forks compute on CUDA alone; here the same definitions are written out in plain PyTorch, in
whatever precision the module has, without anything of this project. Sources: state-spaces/mamba, hustvl/Vim
(v1, v2), ge-xing/SegMamba (v3), MzeroMiko/VMamba (SS2D), bowang-lab/U-Mamba.
"""

import copy

import torch
import torch.nn.functional as F
from torch import nn


def randomised(module, seed=1):
    """The module with every parameter drawn again, so that no initial zero or one hides a mistake."""
    print(f"seed {seed}")
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            drawn = torch.randn(parameter.shape, generator=generator)
            vector = parameter.dim() == 1
            parameter.copy_(0.5 + 0.3 * drawn if vector else drawn / parameter[0].numel() ** 0.5)
    return module.eval()


def in_float64(module, *inputs):
    """Compute the module in double precision."""
    with torch.no_grad():
        return copy.deepcopy(module).double()(*(value.double() for value in inputs))


def tokens_of(seed=2, length=35, channels=6):
    return torch.randn(2, length, channels, generator=torch.Generator().manual_seed(seed))


def assert_computes(adopted, expected, *inputs):
    with torch.no_grad():
        torch.testing.assert_close(adopted(*inputs), expected.float(), rtol=1e-5, atol=1e-5)


def selective_scan(u, delta, A, B, C, D):
    """u, delta (B,D,L), A (D,N), B and C (B,N,L), D (D) -> y (B,D,L): the recurrence, token by token."""
    h = u.new_zeros(*u.shape[:2], A.shape[1])
    y = []
    for t in range(u.shape[2]):
        step = delta[:, :, t, None]
        h = (step * A).exp() * h + step * B[:, None, :, t] * u[:, :, t, None]
        y.append((h * C[:, None, :, t]).sum(-1) + D * u[:, :, t])
    return torch.stack(y, dim=-1)


class SequenceMixer(nn.Module):
    """mamba_ssm's Mamba and its forks': tokens (B, L, C) -> (B, L, C)."""

    def __init__(
        self,
        d_model,
        bimamba_type="none",
        *,
        d_state=4,
        d_conv=4,
        d_inner=None,
        dt_rank=2,
        bias=False,
        conv_bias=True,
        init_layer_scale=None,
        **attributes,
    ):
        super().__init__()
        inner = d_inner or 2 * d_model
        self.dt_rank, self.d_state, self.bimamba_type = dt_rank, d_state, bimamba_type
        self.init_layer_scale, self.use_fast_path = init_layer_scale, True
        for name, value in attributes.items():
            setattr(self, name, value)
        if init_layer_scale is not None:
            self.gamma = nn.Parameter(init_layer_scale * torch.ones(d_model))
        self.in_proj = nn.Linear(d_model, 2 * inner, bias=bias)
        self.act = nn.SiLU()
        for suffix in {"v2": ("", "_b"), "v3": ("", "_b", "_s")}.get(bimamba_type, ("",)):
            conv = nn.Conv1d(inner, inner, d_conv, groups=inner, padding=d_conv - 1, bias=conv_bias)
            self.add_module(f"conv1d{suffix}", conv)
            self.add_module(f"x_proj{suffix}", nn.Linear(inner, dt_rank + 2 * d_state, bias=False))
            self.add_module(f"dt_proj{suffix}", nn.Linear(dt_rank, inner))
            self.register_parameter(f"A{suffix}_log", nn.Parameter(torch.zeros(inner, d_state)))
            self.register_parameter(f"D{suffix}", nn.Parameter(torch.ones(inner)))
        if bimamba_type == "v1":
            self.A_b_log = nn.Parameter(torch.zeros(inner, d_state))
        self.out_proj = nn.Linear(inner, d_model, bias=bias)

    def forward(self, hidden_states, inference_params=None):
        xz = self.in_proj(hidden_states).transpose(1, 2)
        y = self.scan(xz, *self.projected(xz))
        if self.bimamba_type == "v1":
            z, u, delta, _, B, C, D = self.projected(xz)
            u, delta, B, C, z = (value.flip(-1) for value in (u, delta, B, C, z))
            y = y + (selective_scan(u, delta, -self.A_b_log.exp(), B, C, D) * F.silu(z)).flip(-1)
        if self.bimamba_type in ("v2", "v3"):
            y = y + self.directed(xz.flip(-1), "_b").flip(-1)
        if self.bimamba_type == "v2" and (vars(self).get("if_devide_out") or vars(self).get("if_divide_out")):
            y = y / 2
        if self.bimamba_type == "v3":
            y = y + self.between_slices(xz)
        out = self.out_proj(y.transpose(1, 2))
        return out if self.init_layer_scale is None else out * self.gamma

    def between_slices(self, xz):
        batch, _, length = xz.shape
        interleaved = torch.stack(xz.chunk(self.nslices, dim=-1), dim=-1).flatten(-2)
        y = self.directed(interleaved, "_s")
        return y.reshape(batch, -1, length // self.nslices, self.nslices).transpose(2, 3).flatten(-2)

    def directed(self, xz, suffix):
        return self.scan(xz, *self.projected(xz, suffix))

    def scan(self, xz, z, *scanned):
        return selective_scan(*scanned) * F.silu(z)

    def projected(self, xz, suffix=""):
        """z, and the scan's u, delta, A, B, C, D."""
        x, z = xz.chunk(2, dim=1)
        u = F.silu(self.get_submodule(f"conv1d{suffix}")(x)[..., : x.shape[2]])
        rows = self.get_submodule(f"x_proj{suffix}")(u.transpose(1, 2))
        dt, B, C = rows.split([self.dt_rank, self.d_state, self.d_state], dim=-1)
        delta = F.softplus(self.get_submodule(f"dt_proj{suffix}")(dt)).transpose(1, 2)
        A, D = -getattr(self, f"A{suffix}_log").exp(), getattr(self, f"D{suffix}")
        return z, u, delta, A, B.transpose(1, 2), C.transpose(1, 2), D


class Linear2d(nn.Linear):
    """VMamba's linear layer on (B, C, H, W)."""

    def forward(self, x):
        return F.conv2d(x, self.weight[:, :, None, None], self.bias)


class LayerNorm2d(nn.LayerNorm):
    """VMamba's layer norm on (B, C, H, W)."""

    def forward(self, x):
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class FourWayMixer(nn.Module):
    """VMamba's SS2D: (B, H, W, C) -> the same, or (B, C, H, W) with channel_first.

    z: "none", "act" or "plain". attributes=False leaves out those that early versions do not have.
    """

    def __init__(
        self, d_model, z="none", *, channel_first=False, d_state=3, dt_rank=2, attributes=True, d_conv=3
    ):
        super().__init__()
        inner = 2 * d_model
        linear = Linear2d if channel_first else nn.Linear
        self.in_proj = linear(d_model, inner if z == "none" else 2 * inner, bias=False)
        self.act = nn.SiLU()
        if d_conv > 1:
            self.conv2d = nn.Conv2d(inner, inner, d_conv, groups=inner, padding=(d_conv - 1) // 2)
        self.x_proj_weight = nn.Parameter(torch.zeros(4, dt_rank + 2 * d_state, inner))
        self.dt_projs_weight = nn.Parameter(torch.zeros(4, inner, dt_rank))
        self.dt_projs_bias = nn.Parameter(torch.zeros(4, inner))
        self.A_logs = nn.Parameter(torch.zeros(4 * inner, d_state))
        self.Ds = nn.Parameter(torch.ones(4 * inner))
        self.out_norm = (LayerNorm2d if channel_first else nn.LayerNorm)(inner)
        self.out_proj = linear(inner, d_model, bias=False)
        self.dropout = nn.Dropout(0.1)
        self.z, self.first = z, channel_first
        if attributes:
            self.channel_first, self.d_conv = channel_first, d_conv
            self.disable_z, self.disable_z_act = z == "none", z == "plain"

    def forward(self, x):
        x = self.in_proj(x)
        if self.z != "none":
            x, z = x.chunk(2, dim=1 if self.first else -1)
        x = x if self.first else x.permute(0, 3, 1, 2)
        x = F.silu(self.conv2d(x) if hasattr(self, "conv2d") else x)
        y = self.scanned(x)
        y = self.out_norm(y if self.first else y.permute(0, 2, 3, 1))
        if self.z != "none":
            y = y * (F.silu(z) if self.z == "act" else z)
        return self.dropout(self.out_proj(y))

    def scanned(self, x):
        """Rows, columns, and both from their ends: (B, D, H, W) -> (B, D, H, W)."""
        batch, inner, height, width = x.shape
        states, rank = self.A_logs.shape[1], self.dt_projs_weight.shape[2]
        rows, columns = x.flatten(2), x.transpose(2, 3).flatten(2)
        y = []
        for k, u in enumerate((rows, columns, rows.flip(-1), columns.flip(-1))):
            dt, B, C = (self.x_proj_weight[k] @ u).split([rank, states, states], dim=1)
            delta = F.softplus(self.dt_projs_weight[k] @ dt + self.dt_projs_bias[k][:, None])
            A = -self.A_logs.view(4, inner, states)[k].exp()
            y.append(selective_scan(u, delta, A, B, C, self.Ds.view(4, inner)[k]))
        by_rows = y[0] + y[2].flip(-1)
        by_columns = (y[1] + y[3].flip(-1)).view(batch, inner, width, height).transpose(2, 3)
        return by_rows.view_as(x) + by_columns


class RMSNorm(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))

    def forward(self, x):
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-5) * self.weight


class VimLayer(nn.Module):
    """Add, norm, mixer, with the residual carried beside the tokens."""

    def __init__(self, mixer, channels):
        super().__init__()
        self.mixer = mixer
        self.norm = RMSNorm(channels)

    def forward(self, hidden_states, residual, inference_params=None):
        residual = hidden_states if residual is None else residual + hidden_states
        return self.mixer(self.norm(residual), inference_params=inference_params), residual


class VimClassifier(nn.Module):
    """2D classifier: (B, 3, H, W) -> (B, 5), class token in the middle of the patches' tokens."""

    def __init__(self, size=(20, 28), channels=6, layers=2):
        super().__init__()
        patches = size[0] // 4 * (size[1] // 4)
        self.patch_embed = nn.Conv2d(3, channels, 4, stride=4)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, channels))
        self.pos_embed = nn.Parameter(torch.zeros(1, patches + 1, channels))
        mixer = {"bimamba_type": "v2", "if_devide_out": True, "init_layer_scale": 0.5}
        self.layers = nn.ModuleList(
            VimLayer(SequenceMixer(channels, **mixer), channels) for _ in range(layers)
        )
        self.norm_f = RMSNorm(channels)
        self.head = nn.Linear(channels, 5)

    def forward(self, image):
        tokens = self.patch_embed(image).flatten(2).transpose(1, 2)
        middle = tokens.shape[1] // 2
        cls = self.cls_token.expand(tokens.shape[0], -1, -1)
        hidden = torch.cat([tokens[:, :middle], cls, tokens[:, middle:]], dim=1) + self.pos_embed
        residual = None
        for layer in self.layers:
            hidden, residual = layer(hidden, residual)
        return self.head(self.norm_f(hidden + residual)[:, middle])


class VSSBlock(nn.Module):
    """VMamba's block: x + SS2D(norm(x)), then x + MLP(norm(x)), on (B, H, W, C)."""

    def __init__(self, channels, **options):
        super().__init__()
        self.norm, self.norm2 = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.op = FourWayMixer(channels, **options)
        self.mlp = nn.Sequential(
            nn.Linear(channels, 3 * channels), nn.GELU(), nn.Linear(3 * channels, channels)
        )

    def forward(self, x):
        x = x + self.op(self.norm(x))
        return x + self.mlp(self.norm2(x))


class UMambaLayer(nn.Module):
    """U-Mamba's: LayerNorm over the tokens of a 3D feature map, then Mamba, outside autocast."""

    def __init__(self, channels):
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.mamba = SequenceMixer(channels)

    @torch.amp.autocast("cuda", enabled=False)
    def forward(self, x):
        if x.dtype == torch.float16:
            x = x.type(torch.float32)
        batch, channels = x.shape[:2]
        tokens = x.reshape(batch, channels, x.shape[2:].numel()).transpose(-1, -2)
        return self.mamba(self.norm(tokens)).transpose(-1, -2).reshape(batch, channels, *x.shape[2:])


class ResidualBlock(nn.Module):
    """nnU-Net's: convolution, instance norm, leaky ReLU in place, twice, with a 1x1x1 shortcut."""

    def __init__(self, channels, out_channels, stride=1):
        super().__init__()
        self.conv1 = nn.Conv3d(channels, out_channels, 3, stride=stride, padding=1)
        self.conv2 = nn.Conv3d(out_channels, out_channels, 3, padding=1)
        self.norm1, self.norm2 = (nn.InstanceNorm3d(out_channels, affine=True) for _ in range(2))
        self.conv3 = nn.Conv3d(channels, out_channels, 1, stride=stride)
        self.act1, self.act2 = (nn.LeakyReLU(inplace=True) for _ in range(2))

    def forward(self, x):
        y = self.act1(self.norm1(self.conv1(x)))
        y = self.norm2(self.conv2(y))
        y += self.conv3(x)
        return self.act2(y)


class UMambaBot(nn.Module):
    """Encoder and decoder around a Mamba layer at the bottleneck: (B, 2, D, H, W) -> (B, 3, D, H, W)."""

    def __init__(self):
        super().__init__()
        self.stem, self.stage = ResidualBlock(2, 4), ResidualBlock(4, 6, stride=2)
        self.mamba_layer = UMambaLayer(6)
        self.up = nn.Conv3d(6, 4, 1)
        self.decode = ResidualBlock(8, 4)
        self.seg = nn.Conv3d(4, 3, 1)

    def forward(self, image):
        skip = self.stem(image)
        bottom = self.mamba_layer(self.stage(skip))
        up = self.up(F.interpolate(bottom, scale_factor=(2, 2, 2), mode="nearest"))
        return self.seg(self.decode(torch.cat((up, skip), 1)))

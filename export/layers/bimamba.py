"""BiMamba: the Mamba block whose scans visit the tokens in several directions at once.

Parameter names and shapes are those of Vim and of SegMamba, so their blocks' weights load as they are.
"""

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

import msdk_export.ops  # noqa: F401  registers the msdk operators
from msdk_export.ops.directions import Direction, parse_directions
from msdk_export.ops.mamba_ssm_scan import selective_scan
from msdk_rt.errors import InputError

_DT_MIN, _DT_MAX, _DT_FLOOR = 1e-3, 1e-1, 1e-4


class ScanParameters(NamedTuple):
    """The parameters of all K directed scans, stacked: K scans, D channels, N states, rank R, width W."""

    conv_weight: Tensor  # (K, D, W)
    conv_bias: Tensor  # (K, D)
    x_weight: Tensor  # (K, R + 2N, D)
    dt_weight: Tensor  # (K, D, R)
    dt_bias: Tensor  # (K, D)
    A: Tensor  # (K, D, N)
    D_skip: Tensor  # (K, D)


class BiMamba(nn.Module):
    """Mamba block with one set of scan parameters per direction: tokens (B, C, L) -> (B, C, L).

    x, z = in_proj(tokens); the directed scans of x are summed, gated by SiLU(z), scaled and projected back.
    Channels come first in memory throughout: the projections are W @ X, and nothing is flipped or permuted.

    Args:
        d_model: C. The scans run over D = expand * C channels.
        d_state: N, states per channel.
        d_conv: W, width of the causal convolution before each scan.
        expand: D / C; D is rounded to a whole number.
        dt_rank: R, or "auto" for ceil(C / 16).
        directions: comma-separated: forward, backward, slices:S, slices:S:backward, each kind at most once.
            The kind gives parameters their suffix: none, _b, _s, _s_b (A_log, A_b_log, A_s_log, A_s_b_log).
        scale: factor of the sum; 0.5 is Vim's if_divide_out.
        bias: whether in_proj and out_proj have one.
        conv_bias: whether the convolutions have one.

    Raises InputError on a direction that is unknown or repeats a kind.
    """

    def __init__(
        self,
        d_model: int,
        d_state: int = 16,
        d_conv: int = 4,
        expand: float = 2,
        dt_rank: int | Literal["auto"] = "auto",
        directions: str = "forward,backward",
        scale: float = 1.0,
        bias: bool = False,
        conv_bias: bool = True,
    ):
        super().__init__()
        self.directions = directions
        self.scale = scale
        self.conv_bias = conv_bias
        self.suffixes = _parameter_suffixes(directions)
        inner = round(expand * d_model)
        rank = math.ceil(d_model / 16) if dt_rank == "auto" else dt_rank

        self.in_proj = nn.Linear(d_model, 2 * inner, bias=bias)
        self.out_proj = nn.Linear(inner, d_model, bias=bias)
        for suffix in self.suffixes:
            self.add_module(f"conv1d{suffix}", nn.Conv1d(inner, inner, d_conv, groups=inner, bias=conv_bias))
            self.add_module(f"x_proj{suffix}", nn.Linear(inner, rank + 2 * d_state, bias=False))
            self.add_module(f"dt_proj{suffix}", _dt_projection(rank, inner))
            states = torch.arange(1, d_state + 1, dtype=torch.float32)
            self.register_parameter(f"A{suffix}_log", nn.Parameter(states.log().repeat(inner, 1)))
            self.register_parameter(f"D{suffix}", nn.Parameter(torch.ones(inner)))

    def scan_parameters(self) -> ScanParameters:
        """The directions' parameters stacked in scan order, as the operators take them."""

        def stacked(name: str) -> Tensor:
            return torch.stack([self.get_parameter(name.format(suffix)) for suffix in self.suffixes])

        conv_weight = stacked("conv1d{}.weight").squeeze(2)
        return ScanParameters(
            conv_weight=conv_weight,
            conv_bias=stacked("conv1d{}.bias") if self.conv_bias else torch.zeros_like(conv_weight[:, :, 0]),
            x_weight=stacked("x_proj{}.weight"),
            dt_weight=stacked("dt_proj{}.weight"),
            dt_bias=stacked("dt_proj{}.bias"),
            A=-stacked("A{}_log").exp(),
            D_skip=stacked("D{}"),
        )

    def forward(self, tokens: Tensor) -> Tensor:
        out = self.out_proj.weight @ self.scanned(tokens)
        return out if self.out_proj.bias is None else out + self.out_proj.bias.unsqueeze(-1)

    def scanned(self, tokens: Tensor) -> Tensor:
        """Everything before the output projection: tokens (B, C, L) -> (B, D, L)."""
        scan = self.scan_parameters()
        x, z = self._inputs(tokens)
        u = self._convolved(x, scan)
        return selective_scan(
            u,
            scan.x_weight @ u,
            scan.dt_weight,
            scan.dt_bias,
            scan.A,
            scan.D_skip,
            z,
            self.directions,
            self.scale,
        )

    def _inputs(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens (B, C, L) -> x and z (B, D, L), each from its half of in_proj."""
        inner = self.in_proj.out_features // 2
        x, z = self.in_proj.weight[:inner] @ tokens, self.in_proj.weight[inner:] @ tokens
        if self.in_proj.bias is None:
            return x, z
        return x + self.in_proj.bias[:inner].unsqueeze(-1), z + self.in_proj.bias[inner:].unsqueeze(-1)

    def _convolved(self, x: Tensor, scan: ScanParameters) -> Tensor:
        """x (B, D, L) -> u (B, K, D, L)."""
        u: Tensor = torch.ops.msdk.directional_conv1d(x, scan.conv_weight, scan.conv_bias, self.directions)
        return u


class SharedBiMamba(BiMamba):
    """Vim's bimamba_type "v1": forward and backward scan share every parameter but A.

    Beside a plain block's parameters there is A_b_log (D, N), for the backward scan. Both scans read the
    same u, whose convolution runs forward. The arguments are BiMamba's, without directions and scale.
    """

    def __init__(
        self,
        d_model: int,
        d_state: int = 16,
        d_conv: int = 4,
        expand: float = 2,
        dt_rank: int | Literal["auto"] = "auto",
        *,
        bias: bool = False,
        conv_bias: bool = True,
    ):
        super().__init__(d_model, d_state, d_conv, expand, dt_rank, "forward", bias=bias, conv_bias=conv_bias)
        self.directions = "forward,backward"
        self.A_b_log = nn.Parameter(self.get_parameter("A_log").detach().clone())

    def scan_parameters(self) -> ScanParameters:
        """As BiMamba's, with the convolution's parameters for one scan and the others for two."""
        scan = super().scan_parameters()
        twice = {name: value.expand(2, *value.shape[1:]) for name, value in scan._asdict().items()}
        return ScanParameters(**twice)._replace(
            conv_weight=scan.conv_weight,
            conv_bias=scan.conv_bias,
            A=torch.cat([scan.A, -self.A_b_log.exp().unsqueeze(0)]),
        )

    def _convolved(self, x: Tensor, scan: ScanParameters) -> Tensor:
        u: Tensor = torch.ops.msdk.directional_conv1d(x, scan.conv_weight, scan.conv_bias, "forward")
        return u.expand(-1, 2, -1, -1)


def _parameter_suffixes(directions: str) -> tuple[str, ...]:
    suffixes = tuple(_parameter_suffix(direction) for direction in parse_directions(directions))
    if len(set(suffixes)) < len(suffixes):
        raise InputError(
            f"directions {directions!r} repeat a kind: each of forward, backward, slices:S and "
            "slices:S:backward names one set of parameters, so give each at most once"
        )
    return suffixes


def _parameter_suffix(direction: Direction) -> str:
    return ("_s" if direction.slices > 1 else "") + ("_b" if direction.backward else "")


def _dt_projection(rank: int, inner: int) -> nn.Linear:
    """Linear(R -> D) whose bias makes softplus(bias) log-uniform on [0.001, 0.1], Mamba's initialisation."""
    projection = nn.Linear(rank, inner)
    nn.init.uniform_(projection.weight, -(rank**-0.5), rank**-0.5)
    log_dt = torch.empty(inner).uniform_(math.log(_DT_MIN), math.log(_DT_MAX))
    dt = log_dt.exp().clamp(min=_DT_FLOOR)
    with torch.no_grad():
        projection.bias.copy_(dt + torch.log(-torch.expm1(-dt)))
    return projection

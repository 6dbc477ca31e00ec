"""mamba_ssm.ops.selective_scan_interface, as mamba_ssm, Vim and SegMamba have it: names, arguments, meaning.

The signatures stand in full, because msdk_export reads them to know which argument is which.
"""

import torch
import torch.nn.functional as F

from tests.support.published import gpu
from tests.support.published_blocks import selective_scan


def selective_scan_fn(
    u, delta, A, B, C, D=None, z=None, delta_bias=None, delta_softplus=False, return_last_state=False
):
    gpu.check("u")
    assert not return_last_state
    delta = delta if delta_bias is None else delta + delta_bias[:, None]
    delta = F.softplus(delta) if delta_softplus else delta
    B, C = (value.unsqueeze(1) if value.dim() == 3 else value for value in (B, C))
    groups = B.shape[1]
    parts = [value.chunk(groups, 1) for value in (u, delta)]
    rows = [value.chunk(groups) for value in (A, torch.zeros(len(A)) if D is None else D)]
    y = [
        selective_scan(parts[0][g], parts[1][g], rows[0][g], B[:, g], C[:, g], rows[1][g])
        for g in range(groups)
    ]
    y = torch.cat(y, 1)
    return y if z is None else y * F.silu(z)


def projected(xz, conv1d_weight, conv1d_bias, x_proj_weight, delta_proj_weight, states):
    """What every fused function does first: xz (B,2D,L) -> u, delta, B, C and z of its scan."""
    gpu.check("x")
    x, z = xz.chunk(2, 1)
    width, length = conv1d_weight.shape[-1], x.shape[-1]
    padded = F.conv1d(x, conv1d_weight, conv1d_bias, padding=width - 1, groups=x.shape[1])
    u = F.silu(padded[..., :length])
    dt, B, C = (x_proj_weight @ u).split([delta_proj_weight.shape[1], states, states], 1)
    return u, delta_proj_weight @ dt, B, C, z


def mamba_inner_fn_no_out_proj(
    xz,
    conv1d_weight,
    conv1d_bias,
    x_proj_weight,
    delta_proj_weight,
    A,
    B=None,
    C=None,
    D=None,
    delta_bias=None,
    B_proj_bias=None,
    C_proj_bias=None,
    delta_softplus=True,
    checkpoint_lvl=1,
):
    u, delta, B, C, z = projected(
        xz, conv1d_weight, conv1d_bias, x_proj_weight, delta_proj_weight, A.shape[1]
    )
    return selective_scan_fn(u, delta, A, B, C, D, z, delta_bias, delta_softplus)


def mamba_inner_fn(
    xz,
    conv1d_weight,
    conv1d_bias,
    x_proj_weight,
    delta_proj_weight,
    out_proj_weight,
    out_proj_bias,
    A,
    B=None,
    C=None,
    D=None,
    delta_bias=None,
    B_proj_bias=None,
    C_proj_bias=None,
    delta_softplus=True,
    checkpoint_lvl=1,
):
    y = mamba_inner_fn_no_out_proj(
        xz, conv1d_weight, conv1d_bias, x_proj_weight, delta_proj_weight, A, B, C, D, delta_bias
    )
    return F.linear(y.transpose(1, 2), out_proj_weight, out_proj_bias)


def bimamba_inner_fn(
    xz,
    conv1d_weight,
    conv1d_bias,
    x_proj_weight,
    delta_proj_weight,
    out_proj_weight,
    out_proj_bias,
    A,
    A_b,
    B=None,
    C=None,
    D=None,
    delta_bias=None,
    B_proj_bias=None,
    C_proj_bias=None,
    delta_softplus=True,
    checkpoint_lvl=1,
):
    scanned = projected(xz, conv1d_weight, conv1d_bias, x_proj_weight, delta_proj_weight, A.shape[1])
    y = 0
    for decay, ahead in ((A, True), (A_b, False)):
        u, delta, B, C, z = scanned if ahead else (value.flip(-1) for value in scanned)
        one = selective_scan_fn(u, delta, decay, B, C, D, z, delta_bias, True)
        y = y + (one if ahead else one.flip(-1))
    return F.linear(y.transpose(1, 2), out_proj_weight, out_proj_bias)

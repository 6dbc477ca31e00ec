"""The compiled functions under published Mamba code, computed on the msdk ops.

Each function takes the published function's arguments by name, whatever the order of its release, and refuses
by name an argument that it does not compute. Sources: state-spaces/mamba (mamba_ssm/ops),
Dao-AILab/causal-conv1d, hustvl/Vim, ge-xing/SegMamba, MzeroMiko/VMamba.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from msdk_export.adoption.parts import refuse
from msdk_export.ops.directional_conv1d import directional_conv1d
from msdk_export.ops.selective_scan import bidirectional_selective_scan

# Arguments that choose how a kernel computes, not what.
_WITHOUT_EFFECT = {
    "backend",
    "backnrows",
    "checkpoint_lvl",
    "b_c_dt_rms_eps",
    "force_torch",
    "nrows",
    "oflex",
    "xs_transposed",
}


def selective_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    z: Tensor | None = None,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = False,
    **others: object,
) -> Tensor:
    """u, delta (B,GD,L), A (GD,N), B, C (B,N,L) or (B,G,N,L), D, delta_bias (GD), z (B,GD,L) -> (B,GD,L).

    Every group of channels has its own B and C.
    """
    _refuse_others("selective_scan_fn", others)
    if not delta_softplus or A.is_complex() or B.dim() < 3 or C.dim() < 3:
        raise refuse(
            "selective_scan_fn",
            "it is called without delta_softplus, with complex A, or with B or C that are no token's",
            "the msdk ops compute Mamba's scan: softplus of delta, real A, B and C of every token",
        )
    B, C = (value.unsqueeze(1) if value.dim() == 3 else value for value in (B, C))
    groups = max(B.shape[1], C.shape[1])
    channels = A.shape[0] // groups
    outputs = []
    for group in range(groups):
        rows = slice(group * channels, (group + 1) * channels)
        b, c = (value[:, group % value.shape[1]] for value in (B, C))
        zeros = A.new_zeros(channels)
        outputs.append(
            bidirectional_selective_scan(
                u[:, rows].unsqueeze(1),
                torch.cat([delta[:, rows], b.to(delta.dtype), c.to(delta.dtype)], 1).unsqueeze(1).to(u.dtype),
                torch.eye(channels, dtype=A.dtype, device=A.device).unsqueeze(0),
                (zeros if delta_bias is None else delta_bias[rows].to(A.dtype)).unsqueeze(0),
                A[rows].unsqueeze(0),
                (zeros if D is None else D[rows].to(A.dtype)).unsqueeze(0),
                None if z is None else z[:, rows].to(u.dtype),
                "forward",
                1.0,
            )
        )
    return outputs[0] if groups == 1 else torch.cat(outputs, dim=1)


def mamba_inner(out_proj_weight: Tensor, out_proj_bias: Tensor | None = None, **scanned: Any) -> Tensor:
    """xz (B,2D,L) -> tokens (B,L,C): mamba_inner_no_out_proj and the output projection."""
    return F.linear(mamba_inner_no_out_proj(**scanned).transpose(1, 2), out_proj_weight, out_proj_bias)


def mamba_inner_no_out_proj(
    xz: Tensor,
    conv1d_weight: Tensor,
    conv1d_bias: Tensor | None,
    x_proj_weight: Tensor,
    delta_proj_weight: Tensor,
    A: Tensor,
    A_b: Tensor | None = None,
    D: Tensor | None = None,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = True,
    **others: object,
) -> Tensor:
    """xz (B,2D,L), conv1d_weight (D,1,W), x_proj_weight (R+2N,D), delta_proj_weight (D,R), A (D,N) -> y.

    Convolution, scan and gate: y (B,D,L). With A_b (D,N) a second scan reads the tokens from the end and
    shares everything else, the convolution too.
    """
    _refuse_others("mamba_inner_fn", others)
    if not delta_softplus or A.is_complex():
        raise refuse(
            "mamba_inner_fn", "it is called without delta_softplus or with complex A", "see Mamba's scan"
        )
    x, z = xz.chunk(2, dim=1)
    zeros = A.new_zeros(A.shape[0])
    decays = torch.stack([A] if A_b is None else [A, A_b])
    scans = decays.shape[0]
    bias = zeros if conv1d_bias is None else conv1d_bias
    u = directional_conv1d(x, conv1d_weight.squeeze(1).unsqueeze(0), bias.unsqueeze(0), "forward")
    y: Tensor = bidirectional_selective_scan(
        u.expand(-1, scans, -1, -1),
        (x_proj_weight.unsqueeze(0) @ u).expand(-1, scans, -1, -1),
        delta_proj_weight.expand(scans, -1, -1),
        (zeros if delta_bias is None else delta_bias.to(A.dtype)).expand(scans, -1),
        decays,
        (zeros if D is None else D.to(A.dtype)).expand(scans, -1),
        z,
        "forward" if scans == 1 else "forward,backward",
        1.0,
    )
    return y


def causal_conv1d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    activation: str | None = None,
    seq_idx: object = None,
    **others: object,
) -> Tensor:
    """x (B,D,L), weight (D,W), bias (D) -> (B,D,L), with SiLU where activation says so."""
    if isinstance(seq_idx, str):  # the fourth argument was the activation in releases before 1.2
        activation, seq_idx = seq_idx, None
    _refuse_others("causal_conv1d_fn", others | {"seq_idx": seq_idx})
    if activation in ("silu", "swish"):
        shift = weight.new_zeros(weight.shape[0]) if bias is None else bias
        u: Tensor = directional_conv1d(x, weight.unsqueeze(0), shift.unsqueeze(0), "forward")
        return u.squeeze(1)
    if activation is not None:
        raise refuse("causal_conv1d_fn", f"its activation is {activation!r}", "only silu (swish) is known")
    width = weight.shape[1]
    padded = F.pad(x, (width - 1, 0))
    return F.conv1d(padded, weight.unsqueeze(1), bias, groups=weight.shape[0]).to(x.dtype)


def layer_norm(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    residual: Tensor | None = None,
    eps: float = 1e-6,
    prenorm: bool = False,
    residual_in_fp32: bool = False,
    is_rms_norm: bool = False,
    **others: object,
) -> Tensor | tuple[Tensor, Tensor]:
    """Fused add and norm over the last axis: norm(x + residual), and the sum beside it where prenorm."""
    _refuse_others("layer_norm_fn", others)
    total = x if residual is None else x.to(residual.dtype) + residual
    if is_rms_norm:
        normalised = total * torch.rsqrt(total.square().mean(-1, keepdim=True) + eps)
        normalised = normalised.to(weight.dtype) * weight
        normalised = normalised if bias is None else normalised + bias
    else:
        normalised = F.layer_norm(total.to(weight.dtype), weight.shape, weight, bias, eps)
    normalised = normalised.to(x.dtype)
    if residual_in_fp32 and total.dtype in (torch.float16, torch.bfloat16):
        total = total.float()
    return (normalised, total) if prenorm else normalised


def rms_norm(**arguments: Any) -> Tensor | tuple[Tensor, Tensor]:
    return layer_norm(**arguments, is_rms_norm=True)


def cross_scan(x: Tensor, **others: object) -> Tensor:
    """(B,C,H,W) -> (B,4,C,HW): by rows, by columns, and both from their ends."""
    _refuse_others("CrossScanTriton", others)
    by_rows, by_columns = x.flatten(2), x.transpose(2, 3).flatten(2)
    ahead = torch.stack([by_rows, by_columns], dim=1)
    return torch.cat([ahead, ahead.flip(-1)], dim=1)


def cross_merge(y: Tensor, **others: object) -> Tensor:
    """(B,4,C,H,W) -> (B,C,HW): the inverse of cross_scan, summed."""
    _refuse_others("CrossMergeTriton", others)
    batch, _, channels, height, width = y.shape
    steps = y.flatten(3)
    steps = steps[:, :2] + steps[:, 2:].flip(-1)
    by_columns = steps[:, 1].reshape(batch, channels, width, height).transpose(2, 3)
    return steps[:, 0] + by_columns.reshape(batch, channels, height * width)


def _refuse_others(name: str, others: dict[str, object]) -> None:
    """Raise ExportError for an argument that is set and would be ignored."""
    unknown = [
        key
        for key, value in others.items()
        if key not in _WITHOUT_EFFECT
        and value is not None
        and (isinstance(value, Tensor) or value not in (False, 0.0, ()))
    ]
    if unknown:
        raise refuse(
            name,
            f"it is called with {', '.join(unknown)}, which the msdk ops do not compute",
            "export the network as it runs in evaluation, without caches of an earlier call",
        )

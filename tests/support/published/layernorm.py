"""mamba_ssm.ops.triton.layernorm as Vim has it: add and norm in one Triton kernel."""

import torch
import torch.nn.functional as F
from torch import nn

from tests.support.published import gpu


def layer_norm_fn(
    x,
    weight,
    bias,
    residual=None,
    eps=1e-6,
    prenorm=False,
    residual_in_fp32=False,
    is_rms_norm=False,
):
    gpu.check("0 active drivers ([]). There should only be one: x")
    total = x if residual is None else x + residual
    if is_rms_norm:
        y = total / (total.square().mean(-1, keepdim=True) + eps).sqrt() * weight
    else:
        y = F.layer_norm(total, weight.shape, weight, bias, eps)
    return (y, total) if prenorm else y


def rms_norm_fn(x, weight, bias, residual=None, prenorm=False, residual_in_fp32=False, eps=1e-6):
    return layer_norm_fn(x, weight, bias, residual, eps, prenorm, residual_in_fp32, True)


class RMSNorm(nn.Module):
    def __init__(self, hidden_size, eps=1e-5):
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(hidden_size))
        self.register_parameter("bias", None)

    def forward(self, x, residual=None, prenorm=False, residual_in_fp32=False):
        return rms_norm_fn(
            x,
            self.weight,
            self.bias,
            residual=residual,
            eps=self.eps,
            prenorm=prenorm,
            residual_in_fp32=residual_in_fp32,
        )

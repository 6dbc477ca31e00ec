"""Causal depthwise convolution and SiLU along a scan's path, in PyTorch: one multiply-add a tap.

PyTorch's own depthwise convolution is no faster: 96 channels, 262,144 tokens, 4 taps: 0.30 s against 0.29.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from msdk_export.ops.directions import Direction, to_steps, to_tokens


def conv_forward(x: Tensor, weight: Tensor, bias: Tensor, paths: tuple[Direction, ...]) -> Tensor:
    """The op as in `torch.ops.msdk.directional_conv1d`, with its directions parsed: u (B,K,D,L)."""
    tokens = x.to(weight.dtype)
    u = [
        to_tokens(F.silu(_convolved(_taps(to_steps(tokens, path), kernel), kernel, shift)), path)
        for kernel, shift, path in zip(weight, bias, paths, strict=True)
    ]
    return torch.stack(u, dim=1).to(x.dtype)


def conv_backward(
    du: Tensor, x: Tensor, weight: Tensor, bias: Tensor, paths: tuple[Direction, ...]
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of x, weight and bias from du (B,K,D,L)."""
    tokens = x.to(weight.dtype)
    dtokens, dweight, dbias = [], [], []
    for k, (kernel, path) in enumerate(zip(weight, paths, strict=True)):
        taps = _taps(to_steps(tokens, path), kernel)
        dconv = to_steps(du[:, k], path) * silu_slope(_convolved(taps, kernel, bias[k]))
        dweight.append(torch.stack([(dconv * tap).sum((0, 2)) for tap in taps], dim=1))
        dbias.append(dconv.sum((0, 2)))
        later = _taps(dconv.flip(-1), kernel)
        dtokens.append(to_tokens(_weighted(later, kernel).flip(-1), path))
    return sum(dtokens[1:], dtokens[0]).to(x.dtype), torch.stack(dweight), torch.stack(dbias)


def silu_slope(x: Tensor) -> Tensor:
    """The derivative of SiLU."""
    gate = x.sigmoid()
    return gate * (1 + x * (1 - gate))


def _taps(steps: Tensor, kernel: Tensor) -> list[Tensor]:
    """(B,D,L), (D,W) -> W views (B,D,L): what each tap multiplies, zero before the first step."""
    length, width = steps.shape[2], kernel.shape[1]
    padded = F.pad(steps, (width - 1, 0))
    return [padded[..., j : j + length] for j in range(width)]


def _convolved(taps: list[Tensor], kernel: Tensor, shift: Tensor) -> Tensor:
    return _weighted(taps, kernel) + shift.unsqueeze(1)


def _weighted(taps: list[Tensor], kernel: Tensor) -> Tensor:
    total = taps[0] * kernel[:, :1]
    for j, tap in enumerate(taps[1:], start=1):
        total.addcmul_(tap, kernel[:, j : j + 1])
    return total

"""Layer normalisation of channels-first tokens."""

import torch
from torch import Tensor, nn


class TokenNorm(nn.Module):
    """nn.LayerNorm over the channels of tokens (B, C, L), with its parameter names and float32 statistics.

    The means over channels are products with a row of 1/C: in standard ops on 2 CPU threads ONNX Runtime
    takes 20 ms this way (48 channels, 64^3 tokens), 48 as LayerNormalization between two transposes, and
    over 100 with ReduceMean, which is slow over a middle axis. This form is what becomes msdk::TokenNorm.
    """

    def __init__(self, channels: int, eps: float = 1e-5):
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, tokens: Tensor) -> Tensor:
        x = tokens.float()
        channels = self.weight.numel()
        average = torch.full((1, channels), 1 / channels, device=x.device)
        centred = x - average @ x
        normalised = centred * torch.rsqrt(average @ (centred * centred) + self.eps)
        return (normalised * self.weight.unsqueeze(-1) + self.bias.unsqueeze(-1)).to(tokens.dtype)

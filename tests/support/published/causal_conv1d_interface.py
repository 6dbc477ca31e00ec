"""causal_conv1d's function in its two orders of arguments."""

import torch.nn.functional as F

from tests.support.published import gpu


def causal_conv1d_fn(x, weight, bias=None, seq_idx=None, initial_states=None, activation=None):
    """As causal_conv1d has it since 1.2; before, the fourth argument was the activation."""
    gpu.check("x")
    activation = seq_idx if isinstance(seq_idx, str) else activation
    width = weight.shape[-1]
    out = F.conv1d(x, weight[:, None], bias, padding=width - 1, groups=len(weight))[..., : x.shape[-1]]
    return out if activation is None else F.silu(out)

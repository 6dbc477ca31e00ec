"""Peers of the ops, where they are installed: the authors' kernels with flips, torch.compile.

Each computes what the op does, the scan with delta from its rows, two directions and gate. Inputs are torch
tensors on the GPU, named and shaped as the op's, with directions forward, backward.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def mamba_ssm_scan(selective_scan_fn, u, x_dbl, dt_weight, dt_bias, A, D_skip, z) -> Tensor:
    """mamba-ssm's kernel once a direction, backward on flipped tensors, as Vim and SegMamba call it."""
    total = None
    for k, flip in enumerate((False, True)):
        rank, states = dt_weight.shape[2], A.shape[2]
        dt, B, C = x_dbl[:, k].split([rank, states, states], dim=1)
        delta = torch.einsum("dr,brl->bdl", dt_weight[k].to(dt.dtype), dt)
        tensors = [u[:, k], delta, B, C, z]
        u_k, delta, B, C, gate = (t.flip(-1) if flip else t for t in tensors)
        y = selective_scan_fn(
            u_k.contiguous(), delta.contiguous(), A[k], B.contiguous(), C.contiguous(), D_skip[k],
            z=gate.contiguous(), delta_bias=dt_bias[k], delta_softplus=True,
        )  # fmt: skip
        y = y.flip(-1) if flip else y
        total = y if total is None else total + y
    return total


def causal_conv1d(causal_conv1d_fn, x, weight, bias) -> Tensor:
    """causal-conv1d's kernel once a direction, backward on flipped tokens."""
    forward = causal_conv1d_fn(x, weight[0], bias[0], activation="silu")
    backward = causal_conv1d_fn(x.flip(-1).contiguous(), weight[1], bias[1], activation="silu")
    return torch.stack([forward, backward.flip(-1)], 1)


def associative_scan(u, x_dbl, dt_weight, dt_bias, A, D_skip, z, combine_mode="pointwise") -> Tensor:
    """PyTorch's own parallel scan over (decay, increment) pairs of every state: for torch.compile.

    combine_mode: as PyTorch's; "pointwise" is the fast one and runs on GPUs alone, "generic" anywhere.
    """
    from torch._higher_order_ops.associative_scan import associative_scan as scan

    def combine(first, then):
        return first[0] * then[0], then[0] * first[1] + then[1]

    total = 0.0
    for k, flip in enumerate((False, True)):
        rank, states = dt_weight.shape[2], A.shape[2]
        dt, B, C = (t.float() for t in x_dbl[:, k].split([rank, states, states], dim=1))
        u_k = u[:, k].float()
        delta = F.softplus(torch.einsum("dr,brl->bdl", dt_weight[k], dt) + dt_bias[k][:, None])
        decay = torch.exp(delta[:, :, None] * A[k][:, :, None])
        increment = (delta * u_k)[:, :, None] * B[:, None]
        if flip:
            decay, increment = decay.flip(-1), increment.flip(-1)
        h = scan(combine, (decay, increment), dim=-1, combine_mode=combine_mode)[1]
        h = h.flip(-1) if flip else h
        total = total + (h * C[:, None]).sum(2) + D_skip[k][:, None] * u_k
    return (F.silu(z.float()) * total).to(u.dtype)


def milliseconds_of(call, warm_up: int = 5, runs: int = 30) -> list[float]:
    """Time of each run by CUDA events."""
    for _ in range(warm_up):
        call()
    times = []
    for _ in range(runs):
        start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        call()
        stop.record()
        stop.synchronize()
        times.append(start.elapsed_time(stop))
    return times

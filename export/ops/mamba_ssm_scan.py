"""The bidirectional selective scan of a layer: mamba_ssm's CUDA kernel for training, the msdk op otherwise.

Layers call `selective_scan` here and nowhere else, so this is the one place that chooses. mamba_ssm is never
required. This project's tests compare the adaptor with selective_scan_fn's published formula, on a CPU and in
plain PyTorch; this project has not run the CUDA kernel itself yet.
"""

import functools
import operator
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from msdk_export.ops.directions import to_steps, to_tokens
from msdk_export.ops.scan_segments import ScanInputs
from msdk_export.ops.selective_scan import bidirectional_selective_scan, check_scan

# Types and sizes that the checks in mamba_ssm's csrc/selective_scan/selective_scan.cpp allow.
KERNEL_DEVICE = "cuda"
KERNEL_STATES = 256
KERNEL_DTYPES = (torch.float32, torch.float16, torch.bfloat16)


def selective_scan(
    u: Tensor,
    x_dbl: Tensor,
    dt_weight: Tensor,
    dt_bias: Tensor,
    A: Tensor,
    D_skip: Tensor,
    z: Tensor | None,
    directions: str,
    scale: float,
) -> Tensor:
    """`torch.ops.msdk.bidirectional_selective_scan`, by mamba_ssm's kernel where that can and should run.

    It should where a gradient is wanted of CUDA tensors and nothing is being traced: torch.export,
    torch.onnx.export and torch.compile always see the msdk op. It can where mamba_ssm is importable, no input
    is float64 and N <= 256. Its backward pass adds with atomics, so repeated runs may differ in last bits.
    Arguments, result and errors are the op's.
    """
    arguments = (u, x_dbl, dt_weight, dt_bias, A, D_skip, z)
    if (
        _kernel_is_wanted(arguments, A.shape[-1])
        and (selective_scan_fn := installed_selective_scan_fn()) is not None
    ):
        return scan_with(selective_scan_fn, *arguments, directions, scale)
    y: Tensor = bidirectional_selective_scan(*arguments, directions, scale)
    return y


def scan_with(
    selective_scan_fn: Callable[..., Tensor],
    u: Tensor,
    x_dbl: Tensor,
    dt_weight: Tensor,
    dt_bias: Tensor,
    A: Tensor,
    D_skip: Tensor,
    z: Tensor | None,
    directions: str,
    scale: float,
) -> Tensor:
    """The op by one call of `selective_scan_fn`, the K directions being the groups of its B and C.

    Called as selective_scan_fn(u (B,KD,L), delta (B,KD,L), A (KD,N), B (B,K,N,L), C (B,K,N,L), D (KD),
    delta_bias=(KD), delta_softplus=True) -> (B,KD,L), everything float32 even under autocast, because the
    msdk op keeps delta and the states in float32. Each direction's tokens are reordered before the call and
    back after it; the gate SiLU(z) comes after the directions are summed.
    Source: mamba_ssm/ops/selective_scan_interface.py, state-spaces/mamba.
    """
    paths = check_scan(ScanInputs(u, x_dbl, dt_weight, dt_bias, A, D_skip, z), directions)
    rank, states = dt_weight.shape[2], A.shape[2]

    def in_step_order(tokens: Tensor) -> Tensor:
        return torch.stack([to_steps(tokens[:, k].float(), path) for k, path in enumerate(paths)], dim=1)

    with torch.autocast(u.device.type, enabled=False):
        dt, B, C = in_step_order(x_dbl).split([rank, states, states], dim=2)
        y_steps = selective_scan_fn(
            in_step_order(u).flatten(1, 2),
            (dt_weight.float() @ dt).flatten(1, 2),
            A.float().flatten(0, 1),
            B,
            C,
            D_skip.float().flatten(),
            delta_bias=dt_bias.float().flatten(),
            delta_softplus=True,
        ).unflatten(1, (len(paths), -1))
        y = functools.reduce(operator.add, (to_tokens(y_steps[:, k], path) for k, path in enumerate(paths)))
        gate = scale if z is None else scale * F.silu(z.float())
        return (gate * y).to(u.dtype)


@functools.cache
def installed_selective_scan_fn() -> Callable[..., Tensor] | None:
    """mamba_ssm's selective_scan_fn; None where it, its compiled kernel or what they need is missing."""
    try:
        from mamba_ssm.ops.selective_scan_interface import selective_scan_fn
    except ImportError:
        return None
    found: Callable[..., Tensor] = selective_scan_fn
    return found


def _kernel_is_wanted(arguments: tuple[Tensor | None, ...], states: int) -> bool:
    tensors = [argument for argument in arguments if argument is not None]
    return (
        torch.is_grad_enabled()
        and not torch.compiler.is_compiling()
        and all(tensor.device.type == KERNEL_DEVICE and tensor.dtype in KERNEL_DTYPES for tensor in tensors)
        and any(tensor.requires_grad for tensor in tensors)
        and states <= KERNEL_STATES
    )

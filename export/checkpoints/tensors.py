"""Checks of a checkpoint's tensors."""

from pathlib import Path

import torch
from torch import Tensor

from msdk_rt.errors import CheckpointError, shown

FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
DTYPES = (*FLOATS, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.bool)


def check_tensors(path: Path, state_dict: dict[str, Tensor]) -> None:
    """Each is what a weight can be, no larger than its file, and finite in float32."""
    size = path.stat().st_size
    for name, tensor in state_dict.items():
        if type(tensor).__module__.startswith("torch.distributed") or name.endswith("flat_param"):
            raise CheckpointError(
                f"{path}: {shown(name)} is one process's part of a tensor (FSDP), expected whole tensors: "
                "save the full state dict"
            )
        plain = tensor.layout == torch.strided and tensor.device.type == "cpu" and not tensor.is_quantized
        if not plain or tensor.dtype not in DTYPES:
            raise CheckpointError(
                f"{path}: {shown(name)} is {tensor.dtype}, {tensor.layout} on {tensor.device}, expected real "
                "numbers, dense, on the CPU: save the state dict of the plain network"
            )
        if tensor.numel() == 0:
            raise CheckpointError(
                f"{path}: {shown(name)} has the shape {tuple(tensor.shape)} and no values, which is how "
                "ZeRO-3 and FSDP leave a tensor that other processes hold: save the full state dict"
            )
        if tensor.numel() * tensor.element_size() > size:
            raise CheckpointError(
                f"{path}: {shown(name)} says that it is {tuple(tensor.shape)}, more than its file of {size} "
                "bytes holds; fetch or save it again"
            )
        bad = int((~torch.isfinite(tensor.float())).sum())
        if bad:
            raise CheckpointError(
                f"{path}: {name} has {bad} NaN or infinite values of {tensor.numel()}; take an earlier "
                "checkpoint"
            )

"""What the tensors of a checkpoint must be."""

from pathlib import Path

import torch
from torch import Tensor

from msdk_rt.errors import CheckpointError, shown


def check_tensors(path: Path, state_dict: dict[str, Tensor]) -> None:
    """Each is what a weight can be, no larger than its file, and finite."""
    size = path.stat().st_size
    for name, tensor in state_dict.items():
        plain = tensor.layout == torch.strided and tensor.device.type == "cpu" and not tensor.is_quantized
        if not plain or tensor.is_complex():
            raise CheckpointError(
                f"{path}: {shown(name)} is {tensor.dtype}, {tensor.layout} on {tensor.device}, expected real "
                "numbers, dense, on the CPU: save the state dict of the plain network"
            )
        if tensor.numel() * tensor.element_size() > size:
            raise CheckpointError(
                f"{path}: {shown(name)} says that it is {tuple(tensor.shape)}, more than its file of {size} "
                "bytes holds; fetch or save it again"
            )
        bad = int((~torch.isfinite(tensor)).sum())
        if bad:
            raise CheckpointError(
                f"{path}: {name} has {bad} NaN or infinite values of {tensor.numel()}; take an earlier "
                "checkpoint"
            )

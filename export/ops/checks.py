"""Checks of the tensors of one call of an op."""

from torch import Tensor

from msdk_rt.errors import InputError


def check_rank(**tensors: tuple[Tensor, int]) -> None:
    """Raise InputError unless each (tensor, rank) has that many axes."""
    for name, (tensor, rank) in tensors.items():
        if tensor.dim() != rank:
            raise InputError(f"{name}: expected {rank} axes, got shape {tuple(tensor.shape)}")


def check_shape(name: str, tensor: Tensor, expected: tuple[int, ...], axes: str) -> None:
    """Raise InputError unless the tensor has this shape, whose axes are named as in "(K, D)"."""
    if tuple(tensor.shape) != expected:
        raise InputError(
            f"{name}: expected shape {expected} = {axes}, got {tuple(tensor.shape)}: "
            "all tensors and the direction list of one call must describe the same scan"
        )

"""Runs a module that is not ours, and leaves it as it was."""

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from msdk_export.adoption.wrappers import run_eagerly

_OF_TORCH = {
    name
    for name in vars(nn.Module())
    if name.endswith("_hooks") or name in ("_parameters", "_buffers", "_modules")
} | {"training"}


@contextlib.contextmanager
def left_as_it_was(module: nn.Module) -> Iterator[None]:
    """Training flags, parameters, buffers and plain attributes are put back at the end."""
    parts = list(module.modules())
    flags = [part.training for part in parts]
    attributes = [_attributes(part) for part in parts]
    tensors: list[dict[str, Tensor | None]] = [{**part._parameters, **part._buffers} for part in parts]
    values = {id(tensor): tensor.detach().clone() for held in tensors for tensor in _present(held)}
    try:
        yield
    finally:
        for part, flag, attribute, held in zip(parts, flags, attributes, tensors, strict=True):
            part.training = flag
            for name in _attributes(part).keys() - attribute.keys():
                del vars(part)[name]
            vars(part).update(attribute)
            for name, tensor in held.items():
                home: dict[str, Any] = part._parameters if name in part._parameters else part._buffers
                home[name] = tensor
        with torch.no_grad():
            for held in tensors:
                for tensor in _present(held):
                    if not _equal(tensor, values[id(tensor)]):
                        tensor.copy_(values[id(tensor)])


def outputs_of(module: nn.Module, inputs: Sequence[Tensor], seed: int = 0) -> list[Tensor]:
    """The tensors that the module returns in evaluation mode, on the CPU, floating point ones as they are.

    Inputs are copied, to the module's device; no gradients. What the module draws at random starts from the
    seed, and no random numbers of the caller's are used up.
    """
    module.eval()
    held = itertools.chain(module.parameters(), module.buffers())
    device = next((tensor.device for tensor in held), torch.device("cpu"))
    devices = [device] if device.type == "cuda" else []
    with torch.no_grad(), torch.random.fork_rng(devices=devices), run_eagerly(), _in_full_precision():
        torch.manual_seed(seed)
        found = tree_leaves(module(*(value.detach().clone().to(device) for value in inputs)))
    return [leaf.detach().cpu().clone() for leaf in found if isinstance(leaf, Tensor)]


@contextlib.contextmanager
def _in_full_precision() -> Iterator[None]:
    """float32 products are float32, not TF32 or bfloat16, whatever the caller allows PyTorch."""
    allowed = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            yield
    finally:
        torch.set_float32_matmul_precision(allowed)


def _attributes(part: nn.Module) -> dict[str, object]:
    return {name: value for name, value in vars(part).items() if name not in _OF_TORCH}


def _present(held: dict[str, Tensor | None]) -> list[Tensor]:
    return [tensor for tensor in held.values() if tensor is not None]


def _equal(tensor: Tensor, before: Tensor) -> bool:
    return torch.equal(tensor, before) or bool(tensor.isnan().any())

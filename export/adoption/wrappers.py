"""Modules that only hand their inputs on to another, and weights made of others:

gone from the exported copy.
"""

from contextlib import AbstractContextManager

import torch
from torch import nn
from torch._dynamo import OptimizedModule
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import parametrize
from torch.optim.swa_utils import AveragedModel

_HOLDERS: dict[type[nn.Module], str] = {
    nn.DataParallel: "module",
    DistributedDataParallel: "module",
    AveragedModel: "module",
    OptimizedModule: "_orig_mod",
}


def unwrapped(network: nn.Module) -> nn.Module:
    """The network inside DataParallel, DDP, AveragedModel and torch.compile, here and in every part of it.

    A wrapper that has hooks stays, because they would not run without it. Parametrizations give way to the
    weights that they make. Changes the network's parts.
    """
    network = inner(network)
    for module in list(network.modules()):
        for name, part in module._modules.items():
            if part is not None:
                module._modules[name] = inner(part)
    for module in list(network.modules()):
        if parametrize.is_parametrized(module):
            _settle(module)
    return network


def _settle(module: nn.Module) -> None:
    """Make parametrized weights plain ones. PyTorch's own way changes the class, which copies share."""
    weights = {
        name: getattr(module, name).detach().clone()
        for name, _ in module.get_submodule("parametrizations").named_children()
    }
    del module._modules["parametrizations"]
    module.__class__ = type(module).__mro__[1]
    for name, weight in weights.items():
        module.register_parameter(name, nn.Parameter(weight))


def inner(module: nn.Module) -> nn.Module:
    """The module inside a wrapper, or inside a wrapper in a wrapper; another module is returned as it is."""
    while (holder := _HOLDERS.get(type(module))) and not _has_hooks(module):
        module = getattr(module, holder)
    return module


def _has_hooks(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks)


def run_eagerly() -> AbstractContextManager[object]:
    """A context in which compiled modules run as plain Python."""
    stance: AbstractContextManager[object] = torch.compiler.set_stance("force_eager")
    return stance

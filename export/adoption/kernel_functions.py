"""The compiled functions of mamba_ssm, causal_conv1d and VMamba, found in what is imported, and supplied.

Where such a function does not run here, because it wants a GPU, ours runs in its place, so that the Python
around it, which is the user's, still decides what is computed. A function that runs is left to run: its
outputs are compared with ours, and ours goes into the graph only where the two agree.
"""

import functools
import inspect
import sys
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from msdk_export.adoption import kernels
from msdk_export.adoption.agreement import agree
from msdk_export.adoption.interception import Handler
from msdk_rt.errors import MsdkError

_SCAN = ("u", "delta", "A", "B", "C", "D", "z", "delta_bias", "delta_softplus", "return_last_state")
_VMAMBA_SCAN = ("u", "delta", "A", "B", "C", "D", "delta_bias", "delta_softplus")
_CONV = (
    "x",
    "weight",
    "bias",
    "seq_idx",
    "initial_states",
    "return_final_states",
    "final_states_out",
    "activation",
)
_INNER = ("xz", "conv1d_weight", "conv1d_bias", "x_proj_weight", "delta_proj_weight")
_REST = ("B", "C", "D", "delta_bias", "B_proj_bias", "C_proj_bias", "delta_softplus")
_OUT = ("out_proj_weight", "out_proj_bias")
_NORM = ("x", "weight", "bias", "residual")

# Published name -> ours, and the arguments in their published order, for where the signature does not say.
FUNCTIONS: dict[str, tuple[Callable[..., Any], tuple[str, ...]]] = {
    "selective_scan_fn": (kernels.selective_scan, _SCAN),
    "selective_scan_ref": (kernels.selective_scan, _SCAN),
    "selective_scan_torch": (kernels.selective_scan, _VMAMBA_SCAN),
    "mamba_inner_fn": (kernels.mamba_inner, (*_INNER, *_OUT, "A", *_REST)),
    "mamba_inner_ref": (kernels.mamba_inner, (*_INNER, *_OUT, "A", *_REST)),
    "mamba_inner_fn_no_out_proj": (kernels.mamba_inner_no_out_proj, (*_INNER, "A", *_REST)),
    "bimamba_inner_fn": (kernels.mamba_inner, (*_INNER, *_OUT, "A", "A_b", *_REST)),
    "bimamba_inner_ref": (kernels.mamba_inner, (*_INNER, *_OUT, "A", "A_b", *_REST)),
    "causal_conv1d_fn": (kernels.causal_conv1d, _CONV),
    "layer_norm_fn": (kernels.layer_norm, (*_NORM, "eps", "prenorm", "residual_in_fp32", "is_rms_norm")),
    "rms_norm_fn": (kernels.rms_norm, (*_NORM, "prenorm", "residual_in_fp32", "eps")),
}
CLASSES: dict[str, tuple[Callable[..., Any], tuple[str, ...]]] = {
    "SelectiveScanFn": (kernels.selective_scan, _SCAN),
    "SelectiveScanMamba": (kernels.selective_scan, _VMAMBA_SCAN),
    "SelectiveScanCore": (kernels.selective_scan, _VMAMBA_SCAN),
    "SelectiveScanOflex": (kernels.selective_scan, _VMAMBA_SCAN),
    "SelectiveScanNRow": (kernels.selective_scan, _VMAMBA_SCAN),
    "SelectiveScanCuda": (kernels.selective_scan, _VMAMBA_SCAN),
    "SelectiveScan": (kernels.selective_scan, _VMAMBA_SCAN),
    "CrossScanTriton": (kernels.cross_scan, ("x",)),
    "CrossMergeTriton": (kernels.cross_merge, ("y",)),
}
_PACKAGES = {"mamba_ssm", "causal_conv1d", "selective_scan"}
_MODULES = {
    "causal_conv1d_interface",
    "csm_triton",
    "csms6s",
    "layer_norm",
    "layernorm",
    "selective_scan_interface",
    "vmamba",
}
# Names that a module binds to None when their import fails and that have no other way to be computed there.
_IMPORTED = {name for name in FUNCTIONS if name.endswith("_fn") or "inner" in name} - {"causal_conv1d_fn"}


@dataclass(frozen=True)
class _Kernel:
    name: str
    ours: Callable[..., Any]
    parameters: tuple[str, ...]
    known: bool  # whether its source is known, so that its name says what it computes


class KernelFunctions:
    """The kernel functions that are imported now, and the findings about each."""

    def __init__(self) -> None:
        self.tracing = False
        self.supplied: set[str] = set()
        self._ours: dict[object, bool] = {}
        self._functions: dict[types.FunctionType, _Kernel] = {}
        self._classes: dict[type[torch.autograd.Function], _Kernel] = {}
        for module in list(sys.modules.values()):
            if isinstance(module, types.ModuleType):
                self._find(module)

    def _find(self, module: types.ModuleType) -> None:
        space = vars(module)
        for name in FUNCTIONS:
            value = space.get(name)
            if isinstance(value, types.FunctionType):
                known = _is_known(module, value) or (
                    value in self._functions and self._functions[value].known
                )
                self._functions[value] = _Kernel(name, *FUNCTIONS[name], known)
        for name in CLASSES:
            value = space.get(name)
            if (
                isinstance(value, type)
                and issubclass(value, torch.autograd.Function)
                and value.__qualname__ == name  # one local to a function may be any of several
            ):
                known = _is_known(module, value) or (value in self._classes and self._classes[value].known)
                self._classes[value] = _Kernel(name, *CLASSES[name], known)

    def functions(self) -> dict[types.FunctionType, Handler]:
        return {
            value: functools.partial(self._call, value, kernel) for value, kernel in self._functions.items()
        }

    def applies(self) -> dict[type[torch.autograd.Function], Handler]:
        return {
            value: functools.partial(self._call, value, kernel) for value, kernel in self._classes.items()
        }

    def missing(self, network: nn.Module) -> Iterator[tuple[dict[str, Any], str, Callable[..., Any]]]:
        """(globals, name, ours) where code of a network's class bound None to a kernel function's name."""
        seen = {id(vars(sys.modules[kind.__module__])): kind.__module__ for kind in _classes_of(network)}
        for module in seen.values():
            space = vars(sys.modules[module])
            for name in _IMPORTED & space.keys():
                if space[name] is None:
                    yield space, name, functools.partial(self._absent, name)

    def _absent(self, name: str, *args: object, **kwargs: object) -> object:
        self.supplied.add(name)
        ours, parameters = FUNCTIONS[name]
        return ours(**dict(zip(parameters, args, strict=False)), **kwargs)

    def _call(
        self,
        key: object,
        kernel: _Kernel,
        original: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> object:
        if self.tracing:
            return _ours(kernel, original, args, kwargs) if self._ours.get(key) else original(*args, **kwargs)
        try:
            found = original(*args, **kwargs)
        except MsdkError:
            raise
        except Exception:
            if not kernel.known:
                raise
            if any(isinstance(value, Tensor) and value.is_cuda for value in tree_leaves((args, kwargs))):
                raise
            found = _ours(kernel, original, args, kwargs)
            self.supplied.add(kernel.name)
            self._ours[key] = True
            return found
        if self._ours.get(key, True):
            self._ours[key] = _agrees(kernel, original, args, kwargs, found)
        return found


def _ours(
    kernel: _Kernel, original: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> object:
    return kernel.ours(**_named(original, kernel.parameters, args, kwargs))


def _agrees(
    kernel: _Kernel,
    original: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    found: object,
) -> bool:
    try:
        ours = tree_leaves(_ours(kernel, original, args, kwargs))
    except Exception:  # whatever it is that ours does not compute, the graph keeps the original
        return False
    theirs = tree_leaves(found)
    return len(ours) == len(theirs) and all(map(agree, ours, theirs))


def _named(
    original: Callable[..., Any], parameters: tuple[str, ...], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> dict[str, object]:
    """The arguments by name, as the signature of this release has them."""
    kind = getattr(original, "__self__", None)  # of the apply of an autograd function
    if isinstance(kind, type) and issubclass(kind, torch.autograd.Function):
        signature = inspect.signature(kind.forward)
        named = _bind(signature, (None, *args), kwargs)
        if named is not None:
            del named[next(iter(signature.parameters))]
    else:
        named = _bind(inspect.signature(original), args, kwargs)
    if named is None:
        return dict(zip(parameters, args, strict=False)) | kwargs
    if parameters[0] not in named:  # the one name that releases do not share
        named = {parameters[0] if name == next(iter(named)) else name: value for name, value in named.items()}
    return named


def _bind(
    signature: inspect.Signature, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> dict[str, object] | None:
    """None where the signature has no names for positional arguments."""
    kinds = [parameter.kind for parameter in signature.parameters.values()]
    bound = signature.bind(*args, **kwargs)
    bound.apply_defaults()
    named: dict[str, object] = {}
    for (name, value), kind in zip(bound.arguments.items(), kinds, strict=True):
        if kind is inspect.Parameter.VAR_POSITIONAL:
            if value and not named:
                return None
            continue
        named |= value if kind is inspect.Parameter.VAR_KEYWORD else {name: value}
    return named


def _is_known(module: types.ModuleType, value: object) -> bool:
    homes = {module.__name__, getattr(value, "__module__", None) or ""}
    return any(home.partition(".")[0] in _PACKAGES or home.rpartition(".")[2] in _MODULES for home in homes)


def _classes_of(network: nn.Module) -> set[type]:
    kinds = {kind for module in network.modules() for kind in type(module).__mro__}
    return {
        kind for kind in kinds if kind.__module__ in sys.modules and not kind.__module__.startswith("torch")
    }

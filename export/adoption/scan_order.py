"""In which order a VMamba block reads its tokens, where its own code does not run to show it.

A class's name says nothing: VMamba's getCSM returns different classes that are all called CrossScanTriton.
An order that runs is run on a small map; one that does not run must be the very class of VMamba's csm_triton.
"""

import functools
import inspect
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from msdk_export.adoption import kernels
from msdk_export.adoption.parts import refuse

_ONLY_CROSS_SCAN = "only the cross-scan of rows and columns, both ways, is known"
# Arguments of forward_core that change how it computes, not what; and those that name the order.
_WITHOUT_EFFECT = {
    "SelectiveScan",
    "backnrows",
    "force_fp32",
    "no_einsum",
    "nrows",
    "selective_scan_backend",
    "scan_force_torch",
    "to_dtype",
}
_ORDERS = {"scan_mode": (0, "cross2d"), "cascade2d": (False,)}
_MODULE, _CLASSES = "csm_triton", {"CrossScan": "CrossScanTriton", "CrossMerge": "CrossMergeTriton"}


def check_scan_order(block: nn.Module, label: str) -> None:
    """Raise ExportError unless forward_core's arguments, where it has any, mean the cross-scan."""
    core = getattr(block, "forward_core", None)
    options = dict(core.keywords) if isinstance(core, functools.partial) else {}
    options |= {"scan_mode": block.scan_mode} if hasattr(block, "scan_mode") else {}
    for name, value in options.items():
        if name in _CLASSES:
            _check_class(name, value, label)
        elif name in _ORDERS:
            if value not in _ORDERS[name]:
                raise refuse(label, f"it reads the tokens in the order {name}={value!r}", _ONLY_CROSS_SCAN)
        elif name not in _WITHOUT_EFFECT:
            raise refuse(label, f"its forward_core has the argument {name}={value!r}", _ONLY_CROSS_SCAN)


def _check_class(name: str, kind: object, label: str) -> None:
    found = _order_of(kind, name)
    if found is None:
        home = getattr(inspect.getmodule(kind), "__name__", "")
        published = getattr(sys.modules.get(home), _CLASSES[name], None)
        if home.rpartition(".")[2] == _MODULE and published is kind:
            return
    if not found:
        said = "reads the tokens in another order" if found is False else "does not run here"
        raise refuse(label, f"its {name} ({getattr(kind, '__qualname__', kind)}) {said}", _ONLY_CROSS_SCAN)


def _order_of(kind: object, name: str) -> bool | None:
    """Whether it does on a small map what the cross-scan does; None where it does not run."""
    apply: Callable[..., Any] | None = getattr(kind, "apply", None)
    if apply is None:
        return None
    if name == "CrossScan":
        given = torch.arange(24.0).reshape(1, 2, 3, 4)
        expected = kernels.cross_scan(given)
    else:
        given = torch.arange(96.0).square().reshape(1, 4, 2, 3, 4)
        expected = kernels.cross_merge(given)
    try:
        found = apply(given)
    except Exception:  # it wants a GPU, or other arguments: either way it shows nothing
        return None
    return isinstance(found, torch.Tensor) and torch.equal(found.reshape(expected.shape), expected)

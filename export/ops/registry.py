"""The ops by name. To add one: a module with a SPEC, and its name in _MODULES.

An op that stands for standard ops on a CPU has RULES too: passes of onnxscript's rewriting rules. One that
has a CUDA kernel has CUDA_RULES, for float16 graphs.
"""

from collections.abc import Callable
from itertools import zip_longest
from typing import Any

from msdk_export.ops import (
    average_pool3d,
    conv3d,
    conv_transpose3d,
    directional_conv1d,
    instance_norm,
    kan_linear,
    norm_conv3d,
    norm_conv_transpose3d,
    selective_scan,
    token_linear,
    token_norm,
    trilinear_upsample,
)
from msdk_export.ops.spec import OpSpec
from msdk_rt.errors import ExportError

_MODULES = (
    directional_conv1d,
    selective_scan,
    kan_linear,
    conv_transpose3d,  # before conv3d: a node that both take is the first one's
    conv3d,
    norm_conv3d,
    norm_conv_transpose3d,
    average_pool3d,
    trilinear_upsample,
    token_norm,
    token_linear,
    instance_norm,
)
SPECS: dict[str, OpSpec] = {module.SPEC.name: module.SPEC for module in _MODULES}


def spec(name: str) -> OpSpec:
    """The op of this name. Raises ExportError for a name that the domain does not have."""
    if found := SPECS.get(name):
        return found
    raise ExportError(f"domain msdk has no op {name!r}, expected one of {', '.join(SPECS)}")


def translation_table() -> dict[Any, Callable[..., Any]]:
    """For torch.onnx.export(..., dynamo=True, custom_translation_table=translation_table())."""
    return {op.torch_op: op.translation() for op in SPECS.values() if op.torch_op is not None}


def rule_passes(rules: str = "RULES") -> list[list[Any]]:
    """The rewriting rules that put ops of ours in place of standard ones, pass by pass.

    rules: as the modules call those that are wanted.
    """
    passes = zip_longest(*(getattr(module, rules, ()) for module in _MODULES), fillvalue=())
    return [[rule for own in each for rule in own] for each in passes]

"""How torch.onnx.export writes the msdk ops: one node of domain `msdk` each, with every attribute explicit.

`plugin_version` and `plugin_namespace` are what TensorRT's ONNX parser looks a plugin up by.
"""

from collections.abc import Callable

import onnxscript
import torch
from onnx.defs import OpSchema

import msdk_export.ops  # noqa: F401  registers torch.ops.msdk

DOMAIN = "msdk"
OPSET_VERSION = 1

_FLOATS = ["tensor(float)", "tensor(float16)"]
_PLUGIN = {"plugin_version": "1", "plugin_namespace": DOMAIN}


def _op(name: str, inputs: list[str], attributes: dict[str, OpSchema.AttrType]) -> onnxscript.values.Op:
    """Inputs are written 'name' (of type T), 'name:float' (always float32) or 'name?' (T, may be absent)."""
    schema = OpSchema(
        name,
        DOMAIN,
        OPSET_VERSION,
        inputs=[_parameter(word) for word in inputs],
        outputs=[OpSchema.FormalParameter("y", "T")],
        type_constraints=[("T", _FLOATS, "feature maps")],
        attributes=[
            OpSchema.Attribute(attribute, kind)
            for attribute, kind in (attributes | dict.fromkeys(_PLUGIN, OpSchema.AttrType.STRING)).items()
        ],
    )
    return onnxscript.values.Op(onnxscript.values.Opset(DOMAIN, OPSET_VERSION), name, schema)


def _parameter(word: str) -> OpSchema.FormalParameter:
    name, _, element = word.rstrip("?").partition(":")
    options = OpSchema.FormalParameterOption
    option = options.Optional if word.endswith("?") else options.Single
    return OpSchema.FormalParameter(name, f"tensor({element})" if element else "T", param_option=option)


_STRING, _FLOAT = OpSchema.AttrType.STRING, OpSchema.AttrType.FLOAT
_DIRECTIONAL_CONV1D = _op("DirectionalConv1d", ["x", "weight:float", "bias:float"], {"directions": _STRING})
_BIDIRECTIONAL_SELECTIVE_SCAN = _op(
    "BidirectionalSelectiveScan",
    ["u", "x_dbl", "dt_weight:float", "dt_bias:float", "A:float", "D_skip:float", "z?"],
    {"directions": _STRING, "scale": _FLOAT},
)
_KAN_LINEAR = _op(
    "KanLinear", ["x", "base_weight:float", "spline_weight:float"], {"grid_min": _FLOAT, "grid_max": _FLOAT}
)


def custom_translation_table() -> dict[Callable, Callable]:
    """For torch.onnx.export(..., dynamo=True, custom_translation_table=custom_translation_table())."""
    return {
        torch.ops.msdk.directional_conv1d.default: _directional_conv1d,
        torch.ops.msdk.bidirectional_selective_scan.default: _bidirectional_selective_scan,
        torch.ops.msdk.kan_linear.default: _kan_linear,
    }


def _directional_conv1d(x, weight, bias, directions: str):
    return _DIRECTIONAL_CONV1D(x, weight, bias, directions=directions, **_PLUGIN)


def _bidirectional_selective_scan(u, x_dbl, dt_weight, dt_bias, A, D_skip, z, directions: str, scale: float):
    gate = [] if z is None else [z]
    return _BIDIRECTIONAL_SELECTIVE_SCAN(
        u, x_dbl, dt_weight, dt_bias, A, D_skip, *gate, directions=directions, scale=scale, **_PLUGIN
    )


def _kan_linear(x, base_weight, spline_weight, grid_min: float, grid_max: float):
    return _KAN_LINEAR(x, base_weight, spline_weight, grid_min=grid_min, grid_max=grid_max, **_PLUGIN)

"""Give a model the bodies of its msdk nodes in standard ops, so that it runs without the op library too.

Each combination of op, direction list or activation, and inputs found in a graph becomes a model-local
function with its own `overload` (ONNX IR 10). A runtime that has a kernel for the node uses the kernel; any
other runs the body.
"""

import onnx
import onnx.parser

from msdk_export.ops.registry import spec
from msdk_rt.artifact.ops_version import OPS_DOMAIN, OPS_VERSION

_IR_WITH_OVERLOADS = 10


def attach_functions(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of `model` with a body for every msdk node of its graph, each node naming its overload."""
    attached = strip_functions(model)
    attached.ir_version = max(attached.ir_version, _IR_WITH_OVERLOADS)
    opset = opset_of(attached)
    functions: dict[tuple[str, str], onnx.FunctionProto] = {}
    for node in attached.graph.node:
        if node.domain == OPS_DOMAIN:
            function = _function(node, opset)
            node.overload = function.overload
            functions[function.name, function.overload] = function
            for inner in function.node:
                if inner.domain == OPS_DOMAIN:  # ONNX Runtime finds its body only if that has no overload
                    functions[inner.op_type, ""] = _function(inner, opset)
                    functions[inner.op_type, ""].ClearField("overload")
    attached.functions.extend(functions.values())
    return attached


def strip_functions(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of `model` without the msdk bodies, for a builder that looks for plugins."""
    stripped = onnx.ModelProto()
    stripped.CopyFrom(model)
    kept = [function for function in stripped.functions if function.domain != OPS_DOMAIN]
    del stripped.functions[:]
    stripped.functions.extend(kept)
    for node in stripped.graph.node:
        if node.domain == OPS_DOMAIN:
            node.ClearField("overload")
    return stripped


def opset_of(model: onnx.ModelProto) -> int:
    """The version of ONNX's own operators that the model imports."""
    version: int = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    return version


def _function(node: onnx.NodeProto, opset: int) -> onnx.FunctionProto:
    op = spec(node.op_type)
    selected = next((entry.s.decode() for entry in node.attribute if entry.name == op.selector), "")
    given = op.given(node.input, node.output)
    header = f'<domain: "{OPS_DOMAIN}", opset_import: ["" : {opset}, "{OPS_DOMAIN}" : {OPS_VERSION}]>'
    function = onnx.parser.parse_function(f"{header}\n{op.name} {op.body(selected, given)}")
    function.overload = _overload(selected, [op.effects[name] for name in given if name in op.effects])
    return function


def _overload(selected: str, effects: list[str]) -> str:
    """'forward,slices:4:backward' with z -> 'forward_slices4backward_gated'."""
    return "_".join(filter(None, [*selected.replace(":", "").split(","), *effects]))

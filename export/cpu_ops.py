"""Standard ops that have a faster kernel of ours on the CPU, under the names of msdk ops.

Their bodies are the very ops they stand for: a runtime without our kernels, or on another device, runs what
it always did. Engines are built from the graph without these names.
"""

import onnx
from onnx import TensorProto, helper

from msdk_export.cpu_upsampling import name_upsamplings
from msdk_export.functions import attach_functions
from msdk_export.onnx_translation import DOMAIN, OPSET_VERSION

_LEAST_TAPS = 27  # smaller convolutions are bound by memory, or as fast in ONNX Runtime
_LONGEST_KERNEL = 16


def with_cpu_ops(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of `model` in which msdk ops, with bodies, stand for what they compute faster on a CPU.

    These are float32 convolutions in 3D, of 27 taps and more, that are dense or depthwise, and trilinear
    upsampling by two, with the addition of a tensor of the same shape where one follows. In float16, which is
    for GPUs, there are none.
    """
    named = onnx.ModelProto()
    named.CopyFrom(model)
    weights = {tensor.name: tensor for tensor in named.graph.initializer}
    for node in named.graph.node:
        if node.op_type == "Conv" and not node.domain and node.input[1] in weights:
            _name_convolution(node, weights[node.input[1]])
    name_upsamplings(named.graph)
    imported = {entry.domain for entry in named.opset_import}
    if DOMAIN not in imported and DOMAIN in {node.domain for node in named.graph.node}:
        named.opset_import.append(helper.make_opsetid(DOMAIN, OPSET_VERSION))
    return attach_functions(named)


def _name_convolution(node: onnx.NodeProto, weight: TensorProto) -> None:
    """Make a Conv node a Conv3d where that is faster: of one group, or of a group for each channel."""
    outputs, _, *kernel = weight.dims
    given = {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
    group = given.get("group", 1)
    dense = given.get("auto_pad", b"NOTSET") == b"NOTSET" and set(given.get("dilations", [1])) == {1}
    if (
        weight.data_type != TensorProto.FLOAT
        or len(kernel) != 3
        or not dense
        or kernel[0] * kernel[1] * kernel[2] < _LEAST_TAPS
        or max(kernel) > _LONGEST_KERNEL
        or group not in (1, outputs)
    ):
        return
    attributes = {
        "strides": given.get("strides", [1, 1, 1]),
        "pads": given.get("pads", [0] * 6),
        "group": group,
    }
    node.domain, node.op_type = DOMAIN, "Conv3d"
    del node.attribute[:]
    node.attribute.extend(helper.make_attribute(name, value) for name, value in attributes.items())

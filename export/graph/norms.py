"""Instance norms become part of the convolutions around them.

A norm is two passes over memory, for its moments and to write what it normalised. The convolution before it
can add up the moments of what it writes, and those behind it can normalise what they read.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import onnx
import onnx_ir as ir
from onnx_ir import convenience

from msdk_export.ops.matching import constant_of
from msdk_rt.artifact.ops_version import OPS_DOMAIN, OPS_VERSION

_SKIP = 3  # of ConvTranspose3d's inputs


def with_norms_in_convolutions(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of `model` whose InstanceNorm nodes are gone where all that read them can take them over."""
    read = ir.from_proto(model)
    graph = read.graph
    folded = [node for node in graph if _is_foldable(node)]
    folded += [node for node in graph if _is_foldable_beside_a_skip(node, folded)]
    for before in dict.fromkeys(_before(norm) for norm in folded):
        if _is(before, "Conv3d"):
            assert before is not None
            _replace(graph, before, _inputs_of_conv(graph, before), (), outputs=2)
    for norm in folded:
        for node, index in list(norm.outputs[0].uses()):
            _take_over(graph, norm, node, index)
        graph.remove(norm, safe=True)
    return ir.to_proto(read)


def _is(node: ir.Node | None, op: str) -> bool:
    return node is not None and node.domain == OPS_DOMAIN and node.op_type == op


def _before(norm: ir.Node) -> ir.Node | None:
    """The node that a norm's x comes from."""
    x = norm.inputs[0]
    return None if x is None else x.producer()


def _is_foldable(norm: ir.Node) -> bool:
    """Whether a node is a norm that its readers can take over, of which at most one adds up the moments."""
    if not _is_alone(norm):
        return False
    uses = list(norm.outputs[0].uses())
    readers = {id(node) for node, _ in uses}
    return (
        0 < len(uses) == len(readers)
        and (len(uses) == 1 or _is(_before(norm), "Conv3d"))
        and all(_reads(node, index) for node, index in uses)
    )


def _is_foldable_beside_a_skip(norm: ir.Node, folded: Sequence[ir.Node]) -> bool:
    """Whether a transposed convolution alone reads a norm, and takes over the like norm of its skip."""
    uses = list(norm.outputs[0].uses()) if _is_alone(norm) else []
    if len(uses) != 1:
        return False
    node, index = uses[0]
    skip = node.inputs[_SKIP] if _is(node, "ConvTranspose3d") and len(node.inputs) > _SKIP else None
    of_skip = None if skip is None else skip.producer()
    return (
        index == 0
        and of_skip is not None
        and of_skip in folded
        and _is(_before(of_skip), "Conv3d")
        and all(norm.attributes[name].value == of_skip.attributes[name].value for name in norm.attributes)
    )


def _is_alone(node: ir.Node) -> bool:
    """Whether a node is a norm that adds nothing, and that the graph does not give."""
    return _is(node, "InstanceNorm") and len(node.inputs) == 3 and not node.outputs[0].is_graph_output()


def _reads(node: ir.Node, index: int) -> bool:
    """Whether a node can normalise this input of its own as it reads it."""
    if _is(node, "Conv3d"):
        return index == 0 and node.attributes.get_int("group") == 1
    return _is(node, "ConvTranspose3d") and index == _SKIP


def _take_over(graph: ir.Graph, norm: ir.Node, node: ir.Node, index: int) -> None:
    x, weight, bias = norm.inputs[:3]
    before = _before(norm)
    moments = before.outputs[1:] if before is not None and _is(before, "NormConv3d") else ()
    inputs = _inputs_of_conv(graph, node)
    inputs[index] = x
    _replace(
        graph, node, [*inputs, weight, bias, *moments], norm.attributes.values(), outputs=len(node.outputs)
    )


def _inputs_of_conv(graph: ir.Graph, node: ir.Node) -> list[ir.Value | None]:
    """All of a convolution's, with a bias of zeros where there is none."""
    if len(node.inputs) > 2:
        return list(node.inputs)
    weight = node.inputs[1]
    assert weight is not None
    zeros = np.zeros(constant_of(weight).shape[0], np.float32)
    name = f"{node.outputs[0].name}_no_bias"
    bias = ir.Value(
        name=name,
        shape=ir.Shape(zeros.shape),
        type=ir.TensorType(ir.DataType.FLOAT),
        const_value=ir.tensor(zeros, name=name),
    )
    graph.register_initializer(bias)
    return [*node.inputs, bias]


def _replace(
    graph: ir.Graph,
    node: ir.Node,
    inputs: Sequence[ir.Value | None],
    of_norm: Iterable[ir.Attr],
    outputs: int,
) -> None:
    """Puts the op that has a norm's attributes in the place of a convolution; a second output is moments."""
    new = ir.Node(
        OPS_DOMAIN,
        f"Norm{node.op_type.removeprefix('Norm')}",
        inputs,
        (dict(node.attributes) | {each.name: each for each in of_norm}).values(),
        num_outputs=outputs,
        version=OPS_VERSION,
        name=node.name,
    )
    olds = node.outputs
    for value, old in zip(new.outputs, olds, strict=False):
        value.name, value.shape, value.type = old.name, old.shape, old.type
    for moments in new.outputs[len(olds) :]:
        moments.name, moments.type = f"{olds[0].name}_moments", ir.TensorType(ir.DataType.DOUBLE)
    convenience.replace_nodes_and_values(graph, node, [node], [new], olds, new.outputs[: len(olds)])

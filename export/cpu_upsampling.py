"""Find trilinear upsampling by two in a graph of standard ops, and name it TrilinearUpsample."""

from collections import Counter

import onnx
from onnx import TensorProto, helper, numpy_helper

from msdk_export.onnx_translation import DOMAIN


def name_upsamplings(graph: onnx.GraphProto) -> None:
    """Make TrilinearUpsample nodes, in place, of float32 Resize nodes that double three sides.

    An Add that alone reads the doubled tensor becomes part of the node, if both its terms are known to have
    the same shape. Scales that nobody reads any more are removed.
    """
    types = {value.name: value.type.tensor_type for value in (*graph.value_info, *graph.input, *graph.output)}
    scales = {
        tensor.name
        for tensor in graph.initializer
        if list(tensor.dims) == [5] and numpy_helper.to_array(tensor).tolist() == [1, 1, 2, 2, 2]
    }
    reads = _reads(graph)
    for resize in [node for node in graph.node if _is_doubling(node, scales, types)]:
        x, doubled = resize.input[0], resize.output[0]
        add = _addition(graph, doubled, types) if reads[doubled] == 1 else None
        if add is None:
            node, inputs = resize, [x]
        else:
            node, inputs = add, [x, *(name for name in add.input if name != doubled)]
            graph.node.remove(resize)
        node.domain, node.op_type = DOMAIN, "TrilinearUpsample"
        node.input[:] = inputs
        del node.attribute[:]

    reads = _reads(graph)
    unread = {tensor.name for tensor in graph.initializer if tensor.name in scales and not reads[tensor.name]}
    made = {name for node in graph.node for name in node.output}
    _keep(graph.initializer, lambda tensor: tensor.name not in unread)
    _keep(graph.value_info, lambda value: value.name in made or value.name in reads)


def _is_doubling(node: onnx.NodeProto, scales: set[str], types: dict[str, onnx.TypeProto.Tensor]) -> bool:
    """Whether the node doubles the last three sides of a float32 x (B,C,D,H,W), trilinear, half-pixel."""
    if node.op_type != "Resize" or node.domain or len(node.input) != 3 or node.input[2] not in scales:
        return False
    given = {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
    return (
        given.get("mode") == b"linear"
        and given.get("coordinate_transformation_mode", b"half_pixel") == b"half_pixel"
        and "axes" not in given
        and node.input[0] in types
        and types[node.input[0]].elem_type == TensorProto.FLOAT
    )


def _addition(graph: onnx.GraphProto, term: str, types: dict[str, onnx.TypeProto.Tensor]):
    """The Add node that adds to `term` a tensor known to have its shape, or None."""
    for node in graph.node:
        if node.op_type == "Add" and not node.domain and term in node.input:
            shapes = [_shape(types.get(name)) for name in node.input]
            return node if shapes[0] is not None and shapes[0] == shapes[1] else None
    return None


def _shape(value: onnx.TypeProto.Tensor | None) -> list[int | str] | None:
    """Sizes and names of sizes, or None where one is unknown."""
    if value is None or not value.HasField("shape"):
        return None
    sides = [side.dim_param or side.dim_value for side in value.shape.dim]
    return sides if all(sides) else None


def _reads(graph: onnx.GraphProto) -> Counter[str]:
    """How often each tensor is read: by nodes, by the graphs within them, and as an output."""
    reads = Counter(value.name for value in graph.output)
    for node in graph.node:
        reads.update(node.input)
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                reads += _reads(inner)
    return reads


def _keep(entries, wanted) -> None:
    kept = [entry for entry in entries if wanted(entry)]
    del entries[:]
    entries.extend(kept)

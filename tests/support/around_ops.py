"""A graph without its msdk nodes, for tools that know standard ops alone, and the nodes back in it.

TensorRT-RTX takes no plugins, NVIDIA's AutoCast asks TensorRT itself about ops that it does not know: both
are given what lies around the msdk ops.
"""

from collections.abc import Iterable, Iterator

import onnx
import onnx.inliner
from onnx import TensorProto, helper

from msdk_export.ops.registry import SPECS
from msdk_rt.artifact.ops_version import OPS_DOMAIN


def standard_ops(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of `model`, an artifact's, with the standard ops that the CPU ops stand for in their place."""
    ours = [(OPS_DOMAIN, op.name) for op in SPECS.values() if not op.plugin]
    return onnx.inliner.inline_selected_functions(model, ours, exclude=False)


def cut(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model without its msdk nodes: what they return is an input, what they read an output."""
    around = onnx.ModelProto()
    around.CopyFrom(model)
    del around.functions[:]
    graph = around.graph
    infos = {info.name: info for info in (*graph.value_info, *graph.input, *graph.output)}
    removed = [node for node in graph.node if node.domain == OPS_DOMAIN]
    kept = [node for node in graph.node if node.domain != OPS_DOMAIN]
    made = {name for node in kept for name in node.output}
    read = {name for node in kept for name in node.input}
    given = {output.name for output in graph.output}
    inputs = [name for node in removed for name in node.output if name in read]
    wanted = dict.fromkeys(name for node in removed for name in node.input)
    outputs = [name for name in wanted if name in made and name not in given]
    used = [tensor for tensor in graph.initializer if tensor.name in read]
    _replace(graph.node, kept)
    _replace(graph.initializer, used)
    graph.input.extend(infos[name] for name in inputs)
    graph.output.extend(infos[name] for name in outputs)
    del graph.value_info[:]
    return around


def rejoin(around: onnx.ModelProto, model: onnx.ModelProto) -> onnx.ModelProto:
    """`model` with all but its msdk nodes taken from `around`, which was cut from it and then changed.

    Where `around` has float16 inputs and outputs the msdk nodes become float16 too, and the model's own are
    cast, so that they keep their type. The msdk nodes are without bodies.
    """
    joined = onnx.ModelProto()
    joined.CopyFrom(around)
    graph, original = joined.graph, model.graph
    boundary = {info.name: info for info in (*graph.input, *graph.output)}
    outer = {info.name for info in (*original.input, *original.output)}
    halves = {name: f"{name}_half" for name in outer if _is_half(boundary[name])}
    nodes = [*graph.node, *(node for node in original.node if node.domain == OPS_DOMAIN)]
    for node in nodes:
        for names in (node.input, node.output):
            for index, name in enumerate(names):
                names[index] = halves.get(name, name)
        if node.domain == OPS_DOMAIN:
            node.ClearField("overload")
    entering = [info.name for info in original.input if info.name in halves]
    leaving = [info.name for info in original.output if info.name in halves]
    nodes += [_cast(name, halves[name], TensorProto.FLOAT16) for name in entering]
    nodes += [_cast(halves[name], name, TensorProto.FLOAT) for name in leaving]
    known = {info.name for info in graph.value_info}
    for name, info in boundary.items():
        info.name = halves.get(name, name)
        if (name in halves or name not in outer) and info.name not in known:
            graph.value_info.append(info)
    _replace(graph.input, original.input)
    _replace(graph.output, original.output)
    held = {tensor.name for tensor in graph.initializer}
    read = {name for node in nodes for name in node.input}
    graph.initializer.extend(tensor for tensor in original.initializer if tensor.name in read - held)
    available = {tensor.name for tensor in graph.initializer} | {info.name for info in graph.input} | {""}
    _replace(graph.node, _in_order(nodes, available))
    return joined


def _in_order(nodes: list[onnx.NodeProto], available: set[str]) -> Iterator[onnx.NodeProto]:
    """The nodes, each after those that it reads from."""
    waiting = nodes
    while waiting:
        later = []
        for node in waiting:
            if available.issuperset(node.input):
                available.update(node.output)
                yield node
            else:
                later.append(node)
        if len(later) == len(waiting):
            raise ValueError(f"nothing makes an input of {later[0].op_type} {later[0].name}")
        waiting = later


def _cast(name: str, result: str, wanted: int) -> onnx.NodeProto:
    return helper.make_node("Cast", [name], [result], f"node_{result}", to=wanted)


def _is_half(info: onnx.ValueInfoProto) -> bool:
    return info.type.tensor_type.elem_type == TensorProto.FLOAT16


def _replace(field, values: Iterable) -> None:
    copies = [type(value).FromString(value.SerializeToString()) for value in values]
    del field[:]
    field.extend(copies)

"""A float32 graph as a strongly typed float16 one, by rule.

float16 is the type of values between layers, of convolutions' and projections' weights, and of the msdk
ops' u, x_dbl, z and y. These stay float32, with a Cast on the way in and one on the way out:

    norms        every node of a module whose class has "Norm" in its name, whatever ops it became
    FLOAT32_OPS  the same ops outside of such a module, and ops that sum or exponentiate over many values
    parameters   of the msdk ops (dt, A, D, splines), as their contract says
    image, logits    the model's input and output, so that a float16 model takes the place of a float32 one

A value is cast once for all its readers, and never there and back. TensorRT 11 takes types from the graph
and has no other way to float16; TensorRT 10 does when the network is strongly typed.
"""

from collections.abc import Callable

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from msdk_export.ops.registry import spec
from msdk_rt.artifact.ops_version import OPS_DOMAIN
from msdk_rt.errors import ExportError

LARGEST = 65504.0
FLOAT32_OPS = {
    "Exp",
    "GlobalAveragePool",
    "GroupNormalization",
    "InstanceNormalization",
    "LayerNormalization",
    "Log",
    "LogSoftmax",
    "LpNormalization",
    "Pow",
    "Reciprocal",
    "ReduceL2",
    "ReduceLogSumExp",
    "ReduceMean",
    "ReduceProd",
    "ReduceSum",
    "ReduceSumSquare",
    "Softmax",
    "Softplus",
    "Sqrt",
}
FLOAT32_INPUTS = {"Resize": (1, 2)}  # roi and scales, whatever the type of the picture
CLASSES = "pkg.torch.onnx.class_hierarchy"
SCOPES = "pkg.torch.onnx.name_scopes"


def to_float16(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of a model of float32 values with float16 between its layers; see the module's docstring.

    The model's nodes should still have the exporter's metadata, which say which module they came from.
    Raises ExportError for a weight beyond 65504, which float16 cannot hold.
    """
    halved = onnx.ModelProto()
    halved.CopyFrom(model)
    graph = halved.graph
    _Conversion(graph).run()
    return halved


def layer_of(node: onnx.NodeProto) -> str:
    """The path of the module that a node came from, such as stages.0.0.mamba; its own name if unknown."""
    scopes = [entry for entry in _listed(node, SCOPES) if entry]
    return scopes[-2] if len(scopes) > 1 else node.name


class _Conversion:
    """One graph on its way from float32 to float16. Names of float values keep their first type's."""

    def __init__(self, graph: onnx.GraphProto):
        self.graph = graph
        infos = [*graph.value_info, *graph.input, *graph.output]
        self.infos = {info.name: info for info in infos}
        self.floats = {i.name for i in infos if i.type.tensor_type.elem_type == TensorProto.FLOAT}
        self.weights = {t.name: t for t in graph.initializer if t.data_type == TensorProto.FLOAT}
        self.types = dict.fromkeys([i.name for i in graph.input if i.name in self.floats], TensorProto.FLOAT)
        self.types |= dict.fromkeys(self.weights, TensorProto.FLOAT)
        self.nodes: list[onnx.NodeProto] = []
        self.casts: dict[tuple[str, int], str] = {}

    def run(self) -> None:
        for node in self.graph.node:
            self._convert(node)
        for output in self.graph.output:
            if self.types.get(output.name) == TensorProto.FLOAT16:
                self._restore_output(output.name)
        del self.graph.node[:]
        self.graph.node.extend(self.nodes)
        read = {name for node in self.nodes for name in node.input}
        kept = [tensor for tensor in self.graph.initializer if tensor.name in read]
        del self.graph.initializer[:]
        self.graph.initializer.extend(kept)
        for info in self.graph.value_info:
            if info.name in self.types:
                info.type.tensor_type.elem_type = self.types[info.name]

    def _convert(self, node: onnx.NodeProto) -> None:
        wanted = _input_types(node)
        if node.domain == OPS_DOMAIN:
            self._check_halves(node)
        for index, name in enumerate(node.input):
            if name in self.types:
                node.input[index] = self._as(name, wanted(index), node)
        result = wanted(-1)
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT:
                attribute.i = result
            if node.op_type in ("Constant", "ConstantOfShape") and attribute.name == "value":
                _retype(attribute, result)
        self.nodes.append(node)
        self.types |= dict.fromkeys((name for name in node.output if name in self.floats), result)

    def _check_halves(self, node: onnx.NodeProto) -> None:
        """What a GPU takes as the sum of two halves must not be beyond the first."""
        op = spec(node.op_type)
        for name, word in zip(node.input, op.inputs, strict=False):  # the last ones may be left out
            if word.split(":")[0] in op.halved and name in self.weights:
                _check_fits(self.weights[name], layer_of(node))

    def _as(self, name: str, wanted: int, reader: onnx.NodeProto) -> str:
        """The name of the value in the wanted type, made once."""
        if self.types[name] == wanted:
            return name
        key = name, wanted
        if key not in self.casts:
            self.casts[key] = other = f"{name}_{'half' if wanted == TensorProto.FLOAT16 else 'float'}"
            if name in self.weights:
                self.graph.initializer.append(_half(self.weights[name], other, layer_of(reader)))
            else:
                self._cast(name, other, wanted)
                self._declare(other, name, wanted)
        return self.casts[key]

    def _restore_output(self, name: str) -> None:
        """Give an output that became float16 another name, and its own to a float32 cast of it."""
        inner = f"{name}_half"
        for node in self.nodes:
            for names in (node.input, node.output):
                for index, given in enumerate(names):
                    if given == name:
                        names[index] = inner
        self._cast(inner, name, TensorProto.FLOAT)
        self._declare(inner, name, TensorProto.FLOAT16)
        self.types[name] = TensorProto.FLOAT

    def _cast(self, name: str, result: str, wanted: int) -> None:
        self.nodes.append(helper.make_node("Cast", [name], [result], f"node_{result}", to=wanted))

    def _declare(self, name: str, like: str, element: int) -> None:
        """Declare that a new value has the shape of another, as the graph does for all its values."""
        info = onnx.ValueInfoProto()
        info.CopyFrom(self.infos[like])
        info.name = name
        info.type.tensor_type.elem_type = element
        self.graph.value_info.append(info)


def _input_types(node: onnx.NodeProto) -> Callable[[int], int]:
    """The type that each float input should have, by its index; -1: the float outputs."""
    if node.domain == OPS_DOMAIN:
        float32 = set(range(len(node.input))) - set(spec(node.op_type).half_inputs)
    elif node.op_type in FLOAT32_OPS or any("Norm" in name for name in _classes(node)):
        return lambda index: TensorProto.FLOAT
    else:
        float32 = set(FLOAT32_INPUTS.get(node.op_type, ()))
    return lambda index: TensorProto.FLOAT if index in float32 else TensorProto.FLOAT16


def _classes(node: onnx.NodeProto) -> list[str]:
    """Class names of the modules that a node came from, the outermost first, without their packages."""
    return [entry.rpartition(".")[2] for entry in _listed(node, CLASSES)[:-1]]


def _listed(node: onnx.NodeProto, key: str) -> list[str]:
    """An entry of the exporter's metadata, the text of a Python list of names."""
    text = next((entry.value for entry in node.metadata_props if entry.key == key), "[]")
    return [entry.strip("' ") for entry in text.strip("[]").split(",")]


def _half(tensor: TensorProto, name: str, layer: str) -> TensorProto:
    _check_fits(tensor, layer)
    return numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), name)


def _check_fits(tensor: TensorProto, layer: str) -> None:
    """Raise ExportError for a value beyond 65504."""
    if (largest := np.abs(numpy_helper.to_array(tensor)).max(initial=0)) > LARGEST:
        raise ExportError(
            f"float16 holds values up to {LARGEST:g}, and {tensor.name}, a weight of "
            f"{layer}, has {largest:g}: "
            "export with precision fp32"
        )


def _retype(attribute: onnx.AttributeProto, wanted: int) -> None:
    if attribute.t.data_type == TensorProto.FLOAT and wanted == TensorProto.FLOAT16:
        attribute.t.CopyFrom(_half(attribute.t, attribute.t.name, "a constant"))

"""The effect of float16 inside a network: how near its limit values come, which layer suffers."""

from collections.abc import Iterator, Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from msdk_export.graph.functions import opset_of, strip_functions
from msdk_export.graph.precision import LARGEST, layer_of
from msdk_export.graph.running import run_model
from msdk_rt.errors import ExportError

CLEARLY_OFF = 0.1  # relative L2 error of a layer's output that settles the search for a culprit
AT_ONCE = 8  # outputs held in memory together

ROUNDING_DOMAIN = "msdk.rounding"
ROUNDING = """
<domain: "msdk.rounding", opset_import: ["": OPSET]>
ToHalf (x) => (half)
{
    factor = Constant <value_float = 8193.0> ()
    product = Mul (x, factor)
    rest = Sub (product, x)
    normal = Sub (product, rest)
    lifted = Constant <value_float = 0.75> ()
    sum = Add (x, lifted)
    subnormal = Sub (sum, lifted)
    least_normal = Constant <value_float = 6.103515625e-05> ()
    size = Abs (x)
    small = Less (size, least_normal)
    half = Where (small, subnormal, normal)
}"""  # Veltkamp's splitting at 11 bits; below 2^-14, where float16 has steps of 2^-24, those of 0.75 + x


def simulated(model: onnx.ModelProto) -> onnx.ModelProto:
    """A float32 model that computes what the float16 one does on a GPU, but for what overflows.

    Weights and the output of every layer are rounded to float16, sums are in float32. ONNX Runtime's own way
    with float16 on a CPU is too good: it leaves out most of the rounding.
    """
    exact = strip_functions(model)
    graph, halves = exact.graph, _halves(model)
    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.FLOAT16:
            tensor.CopyFrom(_in_float32(tensor))
    nodes = list(graph.node)
    del graph.node[:], graph.value_info[:]
    for node in nodes:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.i == TensorProto.FLOAT16:
                attribute.i = TensorProto.FLOAT
            if attribute.t.data_type == TensorProto.FLOAT16:
                attribute.t.CopyFrom(_in_float32(attribute.t))
        rounding = []
        for index, name in enumerate(node.output):
            if name in halves:
                node.output[index] = f"{name}_unrounded"
                rounding.append(
                    helper.make_node("ToHalf", [f"{name}_unrounded"], [name], domain=ROUNDING_DOMAIN)
                )
        graph.node.extend([node, *rounding])
    exact.opset_import.append(helper.make_opsetid(ROUNDING_DOMAIN, 1))
    exact.functions.append(onnx.parser.parse_function(ROUNDING.replace("OPSET", str(opset_of(exact)))))
    return exact


def check_range(model: onnx.ModelProto, window: np.ndarray, threads: int) -> dict[str, float | str]:
    """The largest float16 value inside the model on a window (1, C, D, H, W): {"largest_value", "layer"}.

    Raises ExportError naming the first layer, in the order of the graph, whose output overflows.
    """
    watched, layers = simulated(model), _layers(model)
    graph = watched.graph
    for name in layers:
        graph.node.append(helper.make_node("Abs", [name], [f"{name}_abs"]))
        graph.node.append(helper.make_node("ReduceMax", [f"{name}_abs"], [f"{name}_largest"], keepdims=0))
        graph.output.append(helper.make_tensor_value_info(f"{name}_largest", TensorProto.FLOAT, []))
    found = dict(_run(watched, [f"{name}_largest" for name in layers], window, threads))
    for name, layer in layers.items():
        if not found[f"{name}_largest"] <= LARGEST:
            raise ExportError(
                f"float16 holds values up to {LARGEST:g}, and what {layer} returns on the real window goes "
                f"beyond: export with precision fp32; nothing was written"
            )
    name = max(layers, key=lambda name: found[f"{name}_largest"])
    return {"largest_value": float(found[f"{name}_largest"]), "layer": layers[name]}


def worst_layer(exact: onnx.ModelProto, halved: onnx.ModelProto, window: np.ndarray, threads: int) -> str:
    """The layer to blame, in words: the first whose output is off by CLEARLY_OFF, else the one most off.

    exact, halved: the same graph in float32 and in float16.
    """
    produced = {name for node in exact.graph.node for name in node.output}
    layers = _layers(halved)
    for node in halved.graph.node:
        if node.op_type == "Cast" and node.input[0] in layers:  # the model's outputs among them
            layers[node.output[0]] = layers[node.input[0]]
    layers = {name: layer for name, layer in layers.items() if name in produced}
    halved = simulated(halved)
    worst, at = "no layer", -1.0
    order = list(layers)
    for first in range(0, len(order), AT_ONCE):
        names = order[first : first + AT_ONCE]
        pairs = zip(_run(exact, names, window, threads), _run(halved, names, window, threads), strict=True)
        for (name, expected), (_, found) in pairs:
            scale = np.linalg.norm(expected) or 1.0
            error = float(np.linalg.norm(found.astype(np.float64) - expected) / scale)
            error = error if np.isfinite(error) else np.inf
            if error > at:
                worst, at = f"{layers[name]} (relative error {error:.2g})", error
            if at > CLEARLY_OFF:
                return worst
    return worst


def _layers(model: onnx.ModelProto) -> dict[str, str]:
    """The layer that each float16 value comes from, casts apart, in the order of the graph."""
    halves = _halves(model)
    return {
        name: layer_of(node)
        for node in model.graph.node
        if node.op_type != "Cast"
        for name in node.output
        if name in halves
    }


def _halves(model: onnx.ModelProto) -> set[str]:
    """Names of the float16 values of the graph."""
    infos = model.graph.value_info
    return {info.name for info in infos if info.type.tensor_type.elem_type == TensorProto.FLOAT16}


def _in_float32(tensor: TensorProto) -> TensorProto:
    return numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name)


def _run(
    model: onnx.ModelProto, names: Sequence[str], window: np.ndarray, threads: int
) -> Iterator[tuple[str, np.ndarray]]:
    """These values of the model, by name."""
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    given = {output.name for output in watched.graph.output}
    watched.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names if name not in given
    )
    yield from zip(names, run_model(watched, names, {"image": window}, threads), strict=True)

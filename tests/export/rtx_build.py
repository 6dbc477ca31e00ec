"""TensorRT-RTX's own parser and builder, which need no GPU, on what of a graph lies around the msdk ops.

TensorRT-RTX takes no plugins and ends the process that asks for one: the graph is cut at the msdk nodes, and
the build is a process of its own, `python rtx_build.py model.onnx SM86 ...`, one line of JSON per target.
"""

import json
import sys
import time
from pathlib import Path

import onnx

DOMAIN = "msdk"


def cut(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model at batch 1 without its msdk nodes: what they return is an input, what they read an output."""
    around = onnx.ModelProto()
    around.CopyFrom(model)
    del around.functions[:]
    graph = around.graph
    infos = {info.name: info for info in (*graph.value_info, *graph.input, *graph.output)}
    removed = [node for node in graph.node if node.domain == DOMAIN]
    kept = [node for node in graph.node if node.domain != DOMAIN]
    made = {name for node in kept for name in node.output}
    read = {name for node in kept for name in node.input}
    given = {output.name for output in graph.output}
    inputs = [name for node in removed for name in node.output if name in read]
    wanted = dict.fromkeys(name for node in removed for name in node.input)
    outputs = [name for name in wanted if name in made and name not in given]
    used = [tensor for tensor in graph.initializer if tensor.name in read]
    for field, values in ((graph.node, kept), (graph.initializer, used)):
        values = [type(value).FromString(value.SerializeToString()) for value in values]
        del field[:]
        field.extend(values)
    graph.input.extend(infos[name] for name in inputs)
    graph.output.extend(infos[name] for name in outputs)
    del graph.value_info[:]
    for info in (*graph.input, *graph.output):
        for size in info.type.tensor_type.shape.dim:
            if not size.HasField("dim_value"):
                size.dim_value = 1
    return around


def build(model: bytes, target: str) -> dict:
    """Build for one compute capability, such as SM86: {"target", "seconds", "bytes", "layers"}.

    Raises RuntimeError with the parser's words when it refuses the graph, or when there is no engine.
    """
    import tensorrt_rtx as trt

    logger = trt.Logger(trt.Logger.ERROR)
    start = time.perf_counter()
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(model):
        raise RuntimeError("; ".join(parser.get_error(i).desc() for i in range(parser.num_errors)))
    config = builder.create_builder_config()
    config.num_compute_capabilities = 1
    config.set_compute_capability(getattr(trt.ComputeCapability, target), 0)
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        raise RuntimeError(f"TensorRT-RTX built no engine for {target}")
    seconds = time.perf_counter() - start
    return {"target": target, "seconds": seconds, "bytes": engine.nbytes, "layers": network.num_layers}


if __name__ == "__main__":
    model = Path(sys.argv[1]).read_bytes()
    for target in sys.argv[2:]:
        print(json.dumps(build(model, target)), flush=True)

"""One msdk node as a whole model, run by ONNX Runtime: for tests and benchmarks of a single op."""

from collections.abc import Collection
from pathlib import Path

import numpy as np
import onnx
import onnx.helper
import onnx.numpy_helper
import onnxruntime

import msdk_rt

OPSET = 20
IR_VERSION = 10


def node_model(
    op: str,
    inputs: dict[str, np.ndarray | None],
    constants: Collection[str] = (),
    moments: bool = False,
    **attributes,
) -> onnx.ModelProto:
    """A model of one node: `inputs` in the op's order, None where one is left out; y as the first.

    constants: inputs that the model holds, as initialisers, instead of being fed them. moments: whether the
    node has a second output of that name, in float64.
    """
    present = {name: array for name, array in inputs.items() if array is not None}
    outputs = {"y": None} | ({"moments": onnx.TensorProto.DOUBLE} if moments else {})
    node = onnx.helper.make_node(op, list(present), list(outputs), domain="msdk", **attributes)
    values = [
        onnx.helper.make_tensor_value_info(
            name, onnx.helper.np_dtype_to_tensor_dtype(array.dtype), array.shape
        )
        for name, array in present.items()
        if name not in constants
    ]
    held = [onnx.numpy_helper.from_array(array, name) for name, array in present.items() if name in constants]
    outputs["y"] = values[0].type.tensor_type.elem_type
    given = [onnx.helper.make_tensor_value_info(name, kind, None) for name, kind in outputs.items()]
    graph = onnx.helper.make_graph([node], "one_node", values, given, held)
    opsets = [onnx.helper.make_opsetid("", OPSET), onnx.helper.make_opsetid("msdk", 1)]
    return onnx.helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)


def session(
    model: onnx.ModelProto,
    threads: int = 2,
    library: bool | Path = True,
    cpu_ops: bool = True,
    **entries: str,
) -> onnxruntime.InferenceSession:
    """A CPU session on `threads` threads, with or without the native ops, or with another build of them.

    entries: session.NAME: value.
    """
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("msdk.cpu_ops", str(int(cpu_ops)))
    for name, value in entries.items():
        options.add_session_config_entry(f"session.{name}", value)
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    if library:
        options.register_custom_ops_library(str(msdk_rt.ops_library() if library is True else library))
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def run_node(op: str, inputs: dict[str, np.ndarray | None], threads: int = 2, **attributes) -> np.ndarray:
    """The node's output for these inputs, from our kernel."""
    feeds = {name: array for name, array in inputs.items() if array is not None}
    return session(node_model(op, inputs, **attributes), threads).run(None, feeds)[0]

"""Checks that a graph is valid ONNX, before another library reads it."""

from pathlib import Path

import onnx

from msdk_rt.errors import ExportError


def check_graph(graph: onnx.ModelProto | Path) -> None:
    """Raise ExportError unless the model, or the file, is valid ONNX."""
    try:
        onnx.checker.check_model(str(graph) if isinstance(graph, Path) else graph, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(
            f"PyTorch's exporter wrote a graph that is not valid ONNX ({error}); nothing was written. Try "
            "another torch or onnxscript, or write the layer it names in other operations"
        ) from error

"""A PyTorch network as an ONNX model: the msdk ops as single nodes, parameters as plain initialisers."""

import contextlib
import logging
import warnings
from collections.abc import Iterator

import onnx
import onnxscript.optimizer
import torch
from torch import nn

from msdk_export.description import ModelDescription
from msdk_export.functions import attach_functions
from msdk_export.onnx_translation import custom_translation_table
from msdk_rt.errors import ExportError, MsdkError

OPSET = 20
_PROTOBUF_LIMIT = 2**31 - 1


def to_onnx(network: nn.Module, description: ModelDescription) -> onnx.ModelProto:
    """image (B, C, D, H, W) -> logits (B, K, D, H, W), B dynamic, with the bodies of the msdk ops attached.

    Expressions of parameters alone (stacked directions, -exp(A_log), scaled splines) are folded. Raises
    ExportError when the network is too large for a file, cannot be exported, or does not map channels to
    labels at the window's size; InputError when it refuses the window.
    """
    size = sum(tensor.numel() * tensor.element_size() for tensor in network.state_dict().values())
    if size > _PROTOBUF_LIMIT:
        raise ExportError(
            f"the weights take {size / 2**30:.1f} GiB and an .onnx file holds at most 2 GiB: export a "
            "smaller network"
        )
    with _quiet():
        try:
            proto = attach_functions(_export(network, description, size))
        except MsdkError:
            raise
        except Exception as error:
            reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
            raise ExportError(
                f"PyTorch cannot export this network: {reason} (it must be a function of tensors alone, "
                "whose control flow depends neither on voxel values nor on the batch size)"
            ) from error
    _strip_debug_metadata(proto)
    return proto


def _export(network: nn.Module, description: ModelDescription, size: int) -> onnx.ModelProto:
    exported = torch.onnx.export(
        _trace(network, description),
        input_names=["image"],
        output_names=["logits"],
        opset_version=OPSET,
        dynamic_shapes=({0: "batch"},),
        dynamo=True,
        verbose=False,
        custom_translation_table=custom_translation_table(),
    )
    onnxscript.optimizer.fold_constants(exported.model, input_size_limit=size, output_size_limit=size)
    onnxscript.optimizer.remove_unused_nodes(exported.model)
    return exported.model_proto


def _trace(network: nn.Module, description: ModelDescription) -> torch.export.ExportedProgram:
    example = torch.zeros(2, len(description.channels), *description.window)
    with torch.no_grad():
        program = torch.export.export(network, (example,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    outputs = [node.meta["val"] for node in program.graph.output_node().args[0]]
    shapes = [tuple(output.shape[1:]) for output in outputs]
    expected = (len(description.labels), *description.window)
    if shapes != [expected]:
        raise ExportError(
            f"labels and window promise logits (B, {', '.join(map(str, expected))}), but the network in "
            f"evaluation mode returns {', '.join(f'(B, {str(shape)[1:-1]})' for shape in shapes)}: name one "
            "label for each logit channel, and give a network that returns one tensor at its input's "
            "resolution"
        )
    return program


def _strip_debug_metadata(proto: onnx.ModelProto) -> None:
    """Drop the exporter's stack traces, which would carry this machine's paths into the artifact."""
    graph = proto.graph
    for entry in (graph, *graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer):
        del entry.metadata_props[:]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's remarks about its own internals from the user's terminal."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)

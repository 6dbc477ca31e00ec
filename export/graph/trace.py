"""A PyTorch network as an ONNX model: the msdk ops as single nodes, parameters as plain initialisers."""

import contextlib
import inspect
import logging
import warnings
from collections.abc import Iterator, Sequence

import onnx
import onnxscript.optimizer
import torch
from torch import Tensor, nn

from msdk_export.description import ModelDescription
from msdk_export.graph.precision import SCOPES, to_float16
from msdk_export.ops.registry import translation_table
from msdk_export.wording import first_line
from msdk_rt.errors import ExportError, MsdkError

OPSET = 20
_PROTOBUF_LIMIT = 2**31 - 1


def to_onnx(network: nn.Module, description: ModelDescription, precision: str = "float32") -> onnx.ModelProto:
    """image (B, C, D, H, W) -> logits (B, K, D, H, W), B dynamic; its msdk nodes have no bodies yet.

    image and logits are float32; precision: of what is between them (float16: msdk_export.graph.precision).

    Expressions of parameters alone (stacked directions, -exp(A_log), scaled splines) are folded. Raises
    ExportError when the network is too large for a file, cannot be exported, or does not map channels to
    labels at the window's size; InputError when it refuses the window.
    """
    example = torch.zeros(2, len(description.channels), *description.window)
    with _exporting(network, "; one that does not segment volumes is for msdk_export.export_graph"):
        program = _trace(network, (example,), dynamic_batch=True)
        _check_logits(program, description)
        return _translate(program, network, ["image"], ["logits"], dynamic_batch=True, precision=precision)


def module_to_onnx(
    network: nn.Module,
    inputs: Sequence[Tensor],
    input_names: Sequence[str],
    output_names: Sequence[str] | None,
    dynamic_batch: bool,
) -> onnx.ModelProto:
    """Any function of tensors, traced at the sizes of `inputs`; its msdk nodes have no bodies yet.

    With dynamic_batch axis 0 of every input is free, and of the same size in all of them; the inputs must
    then have at least 2 along it. Outputs are named output_0, output_1, .. unless output_names are given,
    one for each. Raises ExportError when the network is too large for a file, cannot be exported, or has
    another number of outputs; InputError when it refuses the inputs.
    """
    with _exporting(network):
        program = _trace(network, tuple(inputs), dynamic_batch)
        count = len(program.graph.output_node().args[0])
        names = [f"output_{index}" for index in range(count)] if output_names is None else list(output_names)
        if len(names) != count:
            raise ExportError(
                f"the network returns {count} tensors: give {count} output_names, not {len(names)}"
            )
        return _translate(program, network, list(input_names), names, dynamic_batch)


@contextlib.contextmanager
def _exporting(network: nn.Module, also: str = "") -> Iterator[None]:
    """Refuse what does not fit a file, keep the exporter quiet and its errors in the project's terms."""
    size = _size(network)
    if size > _PROTOBUF_LIMIT:
        raise ExportError(
            f"the weights take {size / 2**30:.1f} GiB and an .onnx file holds at most 2 GiB: export a "
            "smaller network"
        )
    with _quiet():
        try:
            yield
        except MsdkError:
            raise
        except Exception as error:
            reason = first_line(error) or type(error).__name__
            raise ExportError(
                f"PyTorch cannot export this network: {reason} (it must be a function of tensors alone, "
                f"whose control flow depends neither on voxel values nor on the batch size{also})"
            ) from error


def _trace(
    network: nn.Module, inputs: tuple[Tensor, ...], dynamic_batch: bool
) -> torch.export.ExportedProgram:
    batch = {0: torch.export.Dim("batch")}
    shapes = None
    if dynamic_batch:
        bound = inspect.signature(network.forward).bind(*inputs).arguments.values()
        shapes = tuple(tuple(batch for _ in one) if isinstance(one, tuple) else batch for one in bound)
    with torch.no_grad():
        return torch.export.export(network, inputs, dynamic_shapes=shapes)


def _translate(
    program: torch.export.ExportedProgram,
    network: nn.Module,
    input_names: list[str],
    output_names: list[str],
    dynamic_batch: bool,
    precision: str = "float32",
) -> onnx.ModelProto:
    exported = torch.onnx.export(
        program,
        input_names=input_names,
        output_names=output_names,
        opset_version=OPSET,
        dynamic_shapes=tuple({0: "batch"} for _ in input_names) if dynamic_batch else None,
        dynamo=True,
        verbose=False,
        custom_translation_table=translation_table(),
    )
    assert exported is not None, "torch.onnx.export returns a program with dynamo=True"
    size = _size(network)
    onnxscript.optimizer.fold_constants(exported.model, input_size_limit=size, output_size_limit=size)
    onnxscript.optimizer.remove_unused_nodes(exported.model)
    proto = exported.model_proto
    if precision == "float16":
        proto = to_float16(proto)
    _strip_debug_metadata(proto)
    return proto


def _size(network: nn.Module) -> int:
    """Bytes of the parameters and buffers."""
    return sum(tensor.numel() * tensor.element_size() for tensor in network.state_dict().values())


def _check_logits(program: torch.export.ExportedProgram, description: ModelDescription) -> None:
    outputs = [node.meta["val"] for node in program.graph.output_node().args[0]]
    shapes = [tuple(output.shape[1:]) for output in outputs]
    expected = ((description.folds or 1) * len(description.labels), *description.window)
    if shapes != [expected]:
        raise ExportError(
            f"labels{', folds' if description.folds else ''} and window promise logits (B, "
            f"{', '.join(map(str, expected))}), but the network in "
            f"evaluation mode returns {', '.join(f'(B, {str(shape)[1:-1]})' for shape in shapes)}: name one "
            "label for each logit channel, and give a network that returns one tensor at its input's "
            "resolution"
        )


def _strip_debug_metadata(proto: onnx.ModelProto) -> None:
    """Drop the exporter's stack traces, which would carry this machine's paths into the artifact.

    The module that a node came from stays, for readers of a profile or an error.
    """
    graph = proto.graph
    for entry in (graph, *graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer):
        kept = [(prop.key, prop.value) for prop in entry.metadata_props if prop.key == SCOPES]
        del entry.metadata_props[:]
        for key, value in kept:
            entry.metadata_props.add(key=key, value=value)


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

"""Any PyTorch module as an .onnx file on the msdk ops: 2D networks, classifiers, single blocks."""

import os
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from msdk_export.adoption.blocks import NotComparable
from msdk_export.adoption.given import Given
from msdk_export.graph.check import check_graph
from msdk_export.graph.functions import attach_functions
from msdk_export.graph.rules import with_cpu_ops
from msdk_export.graph.trace import module_to_onnx
from msdk_export.notes import note
from msdk_export.onnx_export import check_suffix, staging
from msdk_export.parity import LIMITS, relative_error
from msdk_rt.artifact.files import atomic_write
from msdk_rt.backends.onnxruntime import open_session
from msdk_rt.errors import BackendError, ExportError, InputError


def export_graph(
    module: nn.Module,
    example_inputs: Tensor | Sequence[Tensor],
    path: str | Path,
    *,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    dynamic_batch: bool = True,
    unverified: bool = False,
) -> dict[str, float]:
    """Write `path` (.onnx): the module in evaluation mode, its Mamba blocks on the msdk ops.

    For networks that `msdk_rt.export` is not for, which takes images (B, C, D, H, W) to one logit map of the
    same size. Here inputs and outputs stay as they are, and there is no manifest: run the file in your own
    session with `msdk_rt.ops_library()` registered, or, slowly, in any ONNX runtime.

    Args:
        module: a function of tensors; left untouched. Its Mamba blocks may be of any class; they are run to
            find out their computation (`msdk_export.adoption`).
        example_inputs: the tensor or tensors to trace with and to compare on. Their sizes are fixed in the
            graph, but for the batch. Where one is the same number everywhere, such as zeros, on which
            different networks agree, the comparison is made on noise too.
        input_names: one for each input. Default: input_0, input_1, ...
        output_names: one for each tensor returned, nested ones in order. Default: output_0, output_1, ...
        dynamic_batch: leave axis 0 of every input free.
        unverified: export although a block does not run on this machine, so that nothing shows its
            computation: it is assumed to be the published block of its parameters, and a UserWarning says so.

    Returns, for each output, the largest difference from the module as it was given on the example, and with
    dynamic_batch on the example repeated, over the largest magnitude the module gives; NaN for all of them
    where a block was exported unverified. Above 1e-3 nothing is written.

    Raises ExportError (a block or the module cannot be exported, parity out of limits), InputError
    (`example_inputs` are not tensors with a batch axis of one size, or do not fit the blocks), OutputError
    (`path` cannot be written), BackendError (the op library is missing, ONNX Runtime refuses the graph).
    """
    path = Path(path)
    check_suffix(path)
    inputs = _checked(example_inputs, dynamic_batch)
    names = [f"input_{index}" for index in range(len(inputs))] if input_names is None else list(input_names)
    if len(names) != len(inputs):
        raise InputError(f"{len(inputs)} example_inputs need as many input_names, got {len(names)}")
    repeated = [torch.cat([value, value.flip(0)]) for value in inputs] if dynamic_batch else inputs
    batches = [inputs, repeated] if dynamic_batch else [inputs]
    noise = _noise_in_place_of_constants(inputs)
    batches += [] if noise is None else [noise]
    with staging(path, [path]) as staged:
        given = Given(module, unverified)
        expected = _expected(given, batches, noise is not None)
        with given.on_msdk_ops() as network:
            proto = module_to_onnx(network, repeated, names, output_names, dynamic_batch)
        proto = with_cpu_ops(proto)
        with atomic_write(staged, "wb") as file:
            file.write(attach_functions(proto).SerializeToString(deterministic=True))
        check_graph(staged)
        errors = _measure(expected, staged, names, batches)
        _check(errors)
        _tell_zeros(expected, list(errors))
        os.replace(staged, path)
    return dict.fromkeys(errors, float("nan")) if given.unverified else errors


def _checked(example_inputs: Tensor | Sequence[Tensor], dynamic_batch: bool) -> list[Tensor]:
    """The inputs on the CPU, floating point ones as float32."""
    inputs = [example_inputs] if isinstance(example_inputs, Tensor) else list(example_inputs)
    if not inputs or not all(isinstance(value, Tensor) for value in inputs):
        kinds = ", ".join(type(value).__name__ for value in inputs) or "nothing"
        raise InputError(f"example_inputs must be a tensor or a sequence of tensors, got {kinds}")
    if not all(value.numel() for value in inputs) or (dynamic_batch and not _share_a_batch(inputs)):
        shapes = ", ".join(str(tuple(value.shape)) for value in inputs)
        raise InputError(
            f"example_inputs must not be empty and must share the size of axis 0, the batch, got {shapes}; "
            "with dynamic_batch=False they need not share it"
        )
    on_cpu = [value.detach().cpu() for value in inputs]
    return [value.float() if value.is_floating_point() else value for value in on_cpu]


def _noise_in_place_of_constants(inputs: list[Tensor]) -> list[Tensor] | None:
    """The inputs, those plus standard normal noise that are one number everywhere; None where none is."""
    constant = [
        value.is_floating_point() and value.numel() > 1 and bool((value == value.flatten()[0]).all())
        for value in inputs
    ]
    if not any(constant):
        return None
    noise = torch.Generator().manual_seed(0)
    return [
        value + torch.randn(value.shape, generator=noise) if same else value
        for value, same in zip(inputs, constant, strict=True)
    ]


def _expected(given: Given, batches: list[list[Tensor]], noisy: bool) -> list[list[Tensor]]:
    """Raises what Given.expected does, and says where noise may be why."""
    try:
        return given.expected(batches)
    except ExportError as error:
        if not noisy or isinstance(error, NotComparable):
            raise
        raise type(error)(
            f"{error}; example_inputs are one number everywhere, on which different networks agree, so that "
            "the module was run on noise too: give an example like what it will be given"
        ) from error


def _tell_zeros(expected: list[list[Tensor]], names: list[str]) -> None:
    """Note outputs of which the example shows nothing."""
    for position, name in enumerate(names):
        if not any(bool(outputs[position].any()) for outputs in expected):
            note(f"{name} is 0 everywhere on the example, so that nothing of it was compared")


def _share_a_batch(inputs: list[Tensor]) -> bool:
    return len({value.shape[:1] for value in inputs}) == 1 and inputs[0].dim() > 0


def _measure(
    expected: list[list[Tensor]], artifact: Path, names: list[str], batches: list[list[Tensor]]
) -> dict[str, float]:
    """Relative error of every output, the worst over the batches."""
    session = open_session(artifact, ["CPUExecutionProvider"], torch.get_num_threads())
    outputs = [output.name for output in session.get_outputs()]
    worst = dict.fromkeys(outputs, 0.0)
    for inputs, truth in zip(batches, expected, strict=True):
        feed = {name: value.numpy() for name, value in zip(names, inputs, strict=True)}
        try:
            found = session.run(outputs, feed)
        except Exception as error:
            raise BackendError(f"ONNX Runtime failed on the example inputs: {error}") from error
        if len(truth) != len(found):
            raise ExportError(f"the module returns {len(truth)} tensors and its graph {len(found)}")
        for name, ours, theirs in zip(outputs, found, truth, strict=True):
            worst[name] = max(worst[name], relative_error(ours, theirs.numpy()))
    return worst


def _check(errors: dict[str, float]) -> None:
    limit = LIMITS["float32"].relative_error
    if wrong := {name: error for name, error in errors.items() if error > limit}:
        raise ExportError(
            f"the exported graph does not agree with the PyTorch module (relative error "
            f"{', '.join(f'{error:.3g} of {name}' for name, error in wrong.items())}, limit "
            f"{limit:g}); nothing was written. Check that the module in evaluation mode is a "
            "pure function of its inputs, finite on the example"
        )

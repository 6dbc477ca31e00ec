"""Finds the layer at which an artifact departs from PyTorch, by a few values of every layer's output."""

from collections.abc import Callable, Mapping

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from msdk_export.graph.precision import layer_of
from msdk_export.graph.running import run_model
from msdk_rt.errors import MsdkError

_SAMPLES = 4096
_SOUND = 3e-7  # a float32 layer's relative error where nothing is wrong
_JUMP = 10.0
_NOT_THE_SAME_VALUE = 0.5  # the graph's value has the module's size but another layout


def worst_step(model: onnx.ModelProto, network: nn.Module, feed: Mapping[str, np.ndarray]) -> str:
    """The first layer, in words, whose output is off by 10 times what comes before it; '' if none stands out.

    model: the artifact, its nodes with the exporter's names of their modules. network: what was traced, in
    float32. feed: the graph's inputs by name, in the order of the network's.
    """
    expected = _sampled(network, [torch.from_numpy(value) for value in feed.values()])
    values = _last_values(model, expected)
    found = _run(model, values, expected, feed)
    before, worst, said = _SOUND, 0.0, ""
    for path, samples in found.items():
        theirs = expected[path][0]
        scale = float(np.linalg.norm(theirs)) or 1.0
        error = float(np.linalg.norm(samples.astype(np.float64) - theirs)) / scale
        if error > _NOT_THE_SAME_VALUE:
            continue
        words = f"{path} ({type(network.get_submodule(path)).__name__}, relative error {error:.2g})"
        if error > _JUMP * before:
            return words
        if error > worst:
            worst, said = error, words
        before = max(before, error)
    return said


def _sampled(network: nn.Module, inputs: list[Tensor]) -> dict[str, tuple[np.ndarray, tuple[int, ...]]]:
    """For every module without parts that runs once: some of its output's values, and the output's shape."""
    found: dict[str, list[tuple[np.ndarray, tuple[int, ...]]]] = {}

    def keep(path: str) -> Callable[[nn.Module, object, object], None]:
        def hook(module: nn.Module, arguments: object, output: object) -> None:
            if isinstance(output, Tensor) and output.is_floating_point():
                flat = output.detach().reshape(-1)
                samples = flat[torch.from_numpy(_places(flat.numel()))]
                found.setdefault(path, []).append((samples.double().numpy(), tuple(output.shape)))

        return hook

    leaves = [(path, part) for path, part in network.named_modules() if path and not part._modules]
    handles = [part.register_forward_hook(keep(path)) for path, part in leaves]
    try:
        with torch.no_grad():
            network(*inputs)
    finally:
        for handle in handles:
            handle.remove()
    return {path: calls[0] for path, calls in found.items() if len(calls) == 1}


def _last_values(model: onnx.ModelProto, wanted: Mapping[str, object]) -> dict[str, str]:
    """The value that each module returns, by the module's path, in the order of the graph."""
    last = {layer_of(node): node.output[0] for node in model.graph.node}
    return {path: name for path, name in last.items() if path in wanted}


def _run(
    model: onnx.ModelProto,
    values: Mapping[str, str],
    expected: Mapping[str, tuple[np.ndarray, tuple[int, ...]]],
    feed: Mapping[str, np.ndarray],
) -> dict[str, np.ndarray]:
    """The same values of the graph's; modules whose output has another size in the graph are left out."""
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    graph = watched.graph
    del graph.output[:]
    flat = numpy_helper.from_array(np.array([-1], np.int64), "sampling_flat")
    graph.initializer.append(flat)
    for index, (path, name) in enumerate(values.items()):
        places = _places(int(np.prod(expected[path][1], dtype=np.int64)))
        graph.initializer.append(numpy_helper.from_array(places, f"sampling_places_{index}"))
        graph.node.append(helper.make_node("Reshape", [name, "sampling_flat"], [f"sampling_{index}"]))
        graph.node.append(
            helper.make_node(
                "Gather", [f"sampling_{index}", f"sampling_places_{index}"], [f"sampled_{index}"]
            )
        )
        graph.node.append(helper.make_node("Size", [name], [f"size_{index}"]))
        graph.output.append(helper.make_tensor_value_info(f"sampled_{index}", TensorProto.FLOAT, None))
        graph.output.append(helper.make_tensor_value_info(f"size_{index}", TensorProto.INT64, []))
    names = [output.name for output in graph.output]
    results = run_model(watched, names, feed, torch.get_num_threads())
    samples, sizes = results[::2], results[1::2]
    return {
        path: found
        for path, found, size in zip(values, samples, sizes, strict=True)
        if size == np.prod(expected[path][1], dtype=np.int64)
    }


def _places(size: int) -> np.ndarray:
    """Where samples are taken from: everywhere if there are few values, else evenly."""
    return np.linspace(0, size - 1, min(size, _SAMPLES)).astype(np.int64)


def worst_step_or_nothing(model: onnx.ModelProto, network: nn.Module, feed: Mapping[str, np.ndarray]) -> str:
    """The same for an error message, which a second error must not hide: '' where it fails."""
    try:
        return worst_step(model, network, feed)
    except (MsdkError, RuntimeError, ValueError, KeyError, IndexError):
        return ""

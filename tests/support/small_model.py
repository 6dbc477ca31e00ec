"""A two-layer network as an artifact with its manifest, and the same network in NumPy."""

from pathlib import Path

import numpy as np
import onnx
import onnx.helper
import onnx.numpy_helper

from msdk_rt.artifact.manifest import Manifest, sha256_of, write_manifest

WINDOW = (8, 6, 7)
ENGINE = {  # a manifest's entry, of an engine for another machine
    "tensorrt": "10.13.2.6",
    "compute_capability": "8.9",
    "plugin_version": "1",
    "max_batch": 2,
    "version_compatible": False,
    "hardware_compatible": False,
}


def write_artifact(path: Path, channels: int = 1, classes: int = 2, window=WINDOW, **fields) -> Path:
    """Write Conv3d k3 (channels -> classes), LeakyRelu as `path` and its manifest, `fields` overriding."""
    weight, bias = _parameters(channels, classes)
    nodes = [
        onnx.helper.make_node("Conv", ["image", "weight", "bias"], ["hidden"], pads=[1] * 6),
        onnx.helper.make_node("LeakyRelu", ["hidden"], ["logits"], alpha=0.25),
    ]
    graph = onnx.helper.make_graph(
        nodes,
        "small",
        [onnx.helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, ["B", channels, *window])],
        [onnx.helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, ["B", classes, *window])],
        [onnx.numpy_helper.from_array(weight, "weight"), onnx.numpy_helper.from_array(bias, "bias")],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=10)
    path.write_bytes(model.SerializeToString())
    describe(path, channels, classes, window, **fields)
    return path


def describe(path: Path, channels: int = 1, classes: int = 2, window=WINDOW, **fields) -> Manifest:
    """Write the manifest of an artifact that exists."""
    entries = {
        "family": "small",
        "config": {"depth": 2},
        "window": tuple(window),
        "channels": tuple(f"m{index}" for index in range(channels)),
        "labels": {f"class{index}": index for index in range(classes)},
        "activation": "softmax",
        "normalization": "nonzero_zscore",
        "parity": {"random": {"max_error": 0.0}},
        "sha256": sha256_of(path),
        "created_by": "the tests",
    }
    manifest = Manifest(**entries | fields)
    write_manifest(path, manifest)
    return manifest


def small_network(windows: np.ndarray, classes: int) -> np.ndarray:
    """The network in NumPy: (B, C, D, H, W) -> (B, classes, D, H, W)."""
    weight, bias = _parameters(windows.shape[1], classes)
    padded = np.pad(windows, [(0, 0), (0, 0), (1, 1), (1, 1), (1, 1)])
    patches = np.lib.stride_tricks.sliding_window_view(padded, (3, 3, 3), axis=(2, 3, 4))
    hidden = np.einsum("bcdhwxyz,kcxyz->bkdhw", patches, weight) + bias[:, None, None, None]
    return np.where(hidden > 0, hidden, 0.25 * hidden).astype(np.float32)


def _parameters(channels: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng([channels, classes])
    weight = rng.standard_normal((classes, channels, 3, 3, 3), np.float32)
    return weight, rng.standard_normal(classes, np.float32)

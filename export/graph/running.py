"""Runs a model that is in memory and in no file."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx

from msdk_rt.backends.onnxruntime import open_session


def run_model(
    model: onnx.ModelProto, names: Sequence[str], feed: Mapping[str, np.ndarray], threads: int
) -> list[np.ndarray]:
    """These outputs of the model, computed on the CPU from inputs by name. Raises BackendError."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(model.SerializeToString())
        found: list[np.ndarray] = open_session(path, ["CPUExecutionProvider"], threads).run(
            list(names), dict(feed)
        )
    return found

"""The PyTorch side of msdk_rt: operators, networks, checkpoints and ONNX export.

Names load on first use: the operators alone need neither onnx nor onnxruntime.
"""

import importlib
import os
from typing import TYPE_CHECKING, Any

import msdk_rt  # noqa: F401  switches ONNX Runtime's telemetry off before a library here imports it

if TYPE_CHECKING:
    from msdk_export.adoption import adopt
    from msdk_export.checkpoints import build_model, load_checkpoint, save_checkpoint
    from msdk_export.engine.options import EngineOptions
    from msdk_export.graph_export import export_graph
    from msdk_export.onnx_export import export
    from msdk_export.training.run import train
    from msdk_export.training.settings import TrainingSettings

# PyTorch's OpenMP threads wait for one another by spinning, 300,000 rounds unless this is set before PyTorch
# is imported: on a busy machine a scan's many short steps then take 16 times the processor time.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")

_HOMES = {
    "EngineOptions": "engine.options",
    "TrainingSettings": "training.settings",
    "adopt": "adoption",
    "build_model": "checkpoints",
    "export": "onnx_export",
    "export_graph": "graph_export",
    "load_checkpoint": "checkpoints",
    "save_checkpoint": "checkpoints",
    "train": "training.run",
}
__all__ = [
    "EngineOptions",
    "TrainingSettings",
    "adopt",
    "build_model",
    "export",
    "export_graph",
    "load_checkpoint",
    "save_checkpoint",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'msdk_export' has no attribute {name!r}")
    return getattr(importlib.import_module(f"msdk_export.{_HOMES[name]}"), name)

"""The PyTorch side of msdk_rt: operators, networks, checkpoints and ONNX export.

Names load on first use: the operators alone need neither onnx nor onnxruntime.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from msdk_export.checkpoints import build_model, load_checkpoint, save_checkpoint
    from msdk_export.onnx_export import export

__all__ = ["build_model", "export", "load_checkpoint", "save_checkpoint"]


def __getattr__(name: str):
    if name not in __all__:
        raise AttributeError(f"module 'msdk_export' has no attribute {name!r}")
    home = "msdk_export.onnx_export" if name == "export" else "msdk_export.checkpoints"
    return getattr(importlib.import_module(home), name)

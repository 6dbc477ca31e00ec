"""Deploy bidirectional-Mamba 3D segmentation networks: export once, segment anywhere, without PyTorch.

    msdk_rt.export("checkpoint.safetensors", "model.onnx", window=(96, 96, 96), ...)
    labels = msdk_rt.Segmenter("model.onnx").run(volume)

Names load on first use, so that importing the package is quick and imports neither PyTorch nor ONNX.
"""

import importlib
import os
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from msdk_export import export
    from msdk_rt.artifact.manifest import Manifest
    from msdk_rt.artifact.notes import ExportWarning, InputWarning
    from msdk_rt.backends.libraries import ops_library
    from msdk_rt.bench.measurement import benchmark
    from msdk_rt.errors import (
        ArtifactError,
        BackendError,
        CheckpointError,
        ExportError,
        InputError,
        MsdkError,
        OutputError,
        TrainingError,
    )
    from msdk_rt.imaging.results import Segmentation
    from msdk_rt.segmenter import Segmenter

__all__ = [
    "ArtifactError",
    "BackendError",
    "CheckpointError",
    "ExportError",
    "ExportWarning",
    "InputError",
    "InputWarning",
    "Manifest",
    "MsdkError",
    "OutputError",
    "Segmentation",
    "Segmenter",
    "TrainingError",
    "benchmark",
    "export",
    "ops_library",
]

_HOMES = {
    "ExportWarning": "msdk_rt.artifact.notes",
    "InputWarning": "msdk_rt.artifact.notes",
    "Manifest": "msdk_rt.artifact.manifest",
    "Segmentation": "msdk_rt.imaging.results",
    "Segmenter": "msdk_rt.segmenter",
    "benchmark": "msdk_rt.bench.measurement",
    "export": "msdk_export",
    "ops_library": "msdk_rt.backends.libraries",
}

# ONNX Runtime's wheels look up a host and leave an id in the home folder unless this is set before whoever is
# first imports them: us, or MONAI for its own ends.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

try:
    __version__ = version("msdk_rt")
except PackageNotFoundError:
    __version__ = "0+unknown"


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'msdk_rt' has no attribute {name!r}")
    try:
        value = getattr(importlib.import_module(_HOMES.get(name, "msdk_rt.errors")), name)
    except ModuleNotFoundError as error:
        if name != "export":
            raise
        from msdk_rt.errors import BackendError

        raise BackendError(
            f"export needs PyTorch and ONNX, and {error.name} is not installed: pip install 'msdk_rt[export]'"
        ) from error
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

"""Paths of the native libraries of the msdk ops, for our sessions and for any other."""

import sys
from pathlib import Path

from msdk_rt.errors import BackendError

LIBRARIES = Path(__file__).parents[1] / "lib"
_SUFFIX = "dylib" if sys.platform == "darwin" else "so"
LIBRARY_NAME = f"libmsdk_onnxruntime.{_SUFFIX}"
RESAMPLING_LIBRARY_NAME = f"libmsdk_resampling.{_SUFFIX}"
PLUGIN_LIBRARY_NAME = "libmsdk_tensorrt.so"
VOLUME_LIBRARY_NAME = "libmsdk_volume.so"


def ops_library() -> Path:
    """The shared library that gives ONNX Runtime the kernels of domain `msdk`.

    Register it with `SessionOptions.register_custom_ops_library(str(ops_library()))`, or from C, C++ or
    Triton by this path. Raises BackendError when the package was installed without its native part.
    """
    return _cpu_library(LIBRARY_NAME, "op library")


def resampling_library() -> Path:
    """The shared library that resamples volumes on the CPU.

    Raises BackendError when the package was installed without its native part.
    """
    return _cpu_library(RESAMPLING_LIBRARY_NAME, "resampling library")


def plugin_library() -> Path:
    """The shared library of TensorRT plugins for domain `msdk`.

    Load it with `registry.load_library(str(plugin_library()))`, or `trtexec --dynamicPlugins=` by this path.
    Raises BackendError when the package was built without it.
    """
    return _cuda_library(PLUGIN_LIBRARY_NAME, "TensorRT plugins")


def volume_library() -> Path:
    """The shared library of CUDA kernels around the network: normalise, cut windows, blend, label.

    Raises BackendError when the package was built without it.
    """
    return _cuda_library(VOLUME_LIBRARY_NAME, "volume kernels")


def _cpu_library(name: str, what: str) -> Path:
    path = LIBRARIES / name
    if not path.is_file():
        raise BackendError(
            f"the {what} {path} is missing: this msdk_rt was installed without its native part. Install "
            "the wheel for your platform, or run `make setup` in a source checkout (CMake and a C++ compiler)"
        )
    return path


def _cuda_library(name: str, what: str) -> Path:
    path = LIBRARIES / name
    if not path.is_file():
        raise BackendError(
            f"the {what} {path} are missing: this msdk_rt was built where there was no CUDA compiler. Build "
            "it again where nvcc is found; model.onnx runs on a CPU without it"
        )
    return path

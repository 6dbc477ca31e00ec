"""Builds the CUDA ops for the emulator (tests/cuda_emulator) and calls them on NumPy arrays."""

import ctypes
from pathlib import Path

import numpy as np

from tests.support.emulator_build import COMPILED, EMULATOR, ROOT, emulated_library

PLUGINS = ROOT / "plugins"
C_ABI = EMULATOR / "tests" / "c_abi"
ACTIVATIONS = ("none", "relu", "leaky_relu")  # in the order of enum class Activation


def build(folder: Path = COMPILED, replaced: dict[str, Path] | None = None) -> "EmulatedOps":
    """The ops as a library in `folder`. `replaced`: {op: a file in place of its cuda.cu}."""
    replaced = replaced or {}
    headers = [*PLUGINS.glob("ops/**/*.*h"), *PLUGINS.glob("cuda/*.*h"), C_ABI / "c_abi.h"]
    sources = [replaced.get(path.parent.name, path) for path in sorted(PLUGINS.glob("ops/*/cuda.cu"))]
    sources += [PLUGINS / "ops" / "directions.cpp", *sorted(C_ABI.glob("*.cpp"))]
    library = folder / "libmsdk_cuda_emulated.so"
    return EmulatedOps(emulated_library(library, sources, PLUGINS, headers))


def pointer(array):
    return ctypes.c_void_p(None if array is None else array.ctypes.data)


class EmulatedOps:
    """The ops: arrays of float32, or float16 where the op's contract says T. Outputs start as NaN."""

    def __init__(self, library: Path):
        self._library = ctypes.CDLL(str(library))

    def order(self, seed: int) -> None:
        """0: launch order, threads ascending; else blocks and threads shuffled by the seed."""
        self._library.emulator_order(ctypes.c_uint64(seed))

    def call(self, name: str, dtype: np.dtype, *arguments) -> None:
        """An op's C function in tests/cuda_emulator/tests/c_abi. Raises ValueError where it refuses."""
        function = getattr(self._library, name)
        function.restype = ctypes.c_char_p
        refused = function(ctypes.c_int(dtype == np.float16), *arguments)
        if refused is not None:
            raise ValueError(refused.decode())

    def bidirectional_selective_scan(
        self, u, x_dbl, dt_weight, dt_bias, A, D_skip, z, directions, scale=1.0
    ) -> np.ndarray:
        batch, _, channels, length = u.shape
        y = np.full((batch, channels, length), np.nan, u.dtype)
        sizes = [ctypes.c_int64(size) for size in (batch, channels, length)]
        sizes += [ctypes.c_int(A.shape[2]), ctypes.c_int(dt_weight.shape[2])]
        arrays = [pointer(array) for array in (u, x_dbl, dt_weight, dt_bias, A, D_skip, z, y)]
        self.call("selective_scan", u.dtype, *sizes, directions.encode(), ctypes.c_float(scale), *arrays)
        return y

    def directional_conv1d(self, x, weight, bias, directions) -> np.ndarray:
        batch, channels, length = x.shape
        u = np.full((batch, len(weight), channels, length), np.nan, x.dtype)
        sizes = [ctypes.c_int64(size) for size in (batch, channels, length)]
        arrays = [pointer(array) for array in (x, weight, bias, u)]
        width = ctypes.c_int(weight.shape[2])
        self.call("directional_conv1d", x.dtype, *sizes, width, directions.encode(), *arrays)
        return u

    def kan_linear(self, x, base_weight, spline_weight, grid_min=-1.0, grid_max=1.0) -> np.ndarray:
        batch, in_channels, length = x.shape
        out_channels, _, bases = spline_weight.shape
        y = np.full((batch, out_channels, length), np.nan, x.dtype)
        sizes = [ctypes.c_int64(size) for size in (batch, in_channels, out_channels, length)]
        grid = [ctypes.c_int(bases), ctypes.c_float(grid_min), ctypes.c_float(grid_max)]
        arrays = [pointer(array) for array in (x, base_weight, spline_weight, y)]
        self.call("kan_linear", x.dtype, *sizes, *grid, *arrays)
        return y

    def token_norm(self, x, weight, bias, epsilon=1e-5) -> np.ndarray:
        y = np.full_like(x, np.nan)
        sizes = [ctypes.c_int64(size) for size in x.shape]
        arrays = [pointer(array) for array in (x, weight, bias, y)]
        self.call("token_norm", x.dtype, *sizes, ctypes.c_float(epsilon), *arrays)
        return y

    def instance_norm(
        self, x, weight, bias, addend=None, epsilon=1e-5, activation="none", slope=0.01
    ) -> np.ndarray:
        y = np.full_like(x, np.nan)
        sizes = [ctypes.c_int64(size) for size in (*x.shape[:2], x[0, 0].size)]
        kind = ctypes.c_int(ACTIVATIONS.index(activation))
        arrays = [pointer(array) for array in (x, weight, bias, addend, y)]
        numbers = ctypes.c_float(epsilon), kind, ctypes.c_float(slope)
        self.call("instance_norm", x.dtype, *sizes, *numbers, *arrays)
        return y

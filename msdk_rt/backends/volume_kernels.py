"""The kernels of libmsdk_volume.so (plugins/volume/volume.h), called through ctypes."""

import ctypes
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from msdk_rt.backends.libraries import volume_library
from msdk_rt.errors import BackendError

FLOAT32, FLOAT16 = 0, 1
_int, _i64, _address = ctypes.c_int, ctypes.c_int64, ctypes.c_void_p


class Windows(ctypes.Structure):
    """MsdkWindows: a volume's axes, a window's sides, and `count` windows at `starts`."""

    _fields_ = (
        ("channels", _i64),
        ("volume", 3 * _i64),
        ("window", 3 * _i64),
        ("count", _i64),
        ("starts", _address),
    )


def windows_of(
    channels: int, volume: Iterable[int], window: Iterable[int], count: int, starts: int
) -> Windows:
    return Windows(channels, (3 * _i64)(*volume), (3 * _i64)(*window), count, starts)


_plan = ctypes.POINTER(Windows)
_ARGUMENTS = {
    "normalize": (_address, _address, _i64, _i64, _address, _address),
    "count_not_finite": (_address, _i64, _i64, _address, _address),
    "gather": (_plan, _address, _int, _address, _int, _address),
    "add_mirrored": (_plan, _address, _int, _address, _address),
    "accumulate": (_plan, _address, _int, _int, _address, _int, _address, _address, _address, _address),
    "divide": (_address, _address, _i64, _i64, _i64, _int, _address, _address),
    "labels": (_address, _address, _i64, _i64, _int, _address, _int, _address),
    "probabilities": (_address, _i64, _i64, _int, _address),
}


class VolumeKernels:
    """`kernels.gather(plan, volume, ...)` is msdk_volume_gather, its arguments as volume.h has them.

    Addresses, and the stream, which is the last argument, are integers. A call that the library refuses is a
    BackendError. Raises BackendError where the library is missing, does not load, or is of a newer major
    version of CUDA than the driver.
    """

    normalize: Callable[..., None]
    count_not_finite: Callable[..., None]
    gather: Callable[..., None]
    add_mirrored: Callable[..., None]
    accumulate: Callable[..., None]
    divide: Callable[..., None]
    labels: Callable[..., None]
    probabilities: Callable[..., None]

    def __init__(self, path: Path | None = None):
        path = path or volume_library()
        try:
            library = ctypes.CDLL(str(path))
            self._workspace = library.msdk_volume_normalize_workspace
            driver_problem = library.msdk_volume_driver_problem
            functions = {name: library[f"msdk_volume_{name}"] for name in _ARGUMENTS}
        except (OSError, AttributeError) as error:  # AttributeError: of another version
            raise BackendError(f"{path} does not load ({error}): reinstall msdk_rt") from error
        driver_problem.restype = ctypes.c_char_p
        if sentence := driver_problem():
            raise BackendError(sentence.decode())
        self._workspace.argtypes, self._workspace.restype = (_i64, _i64), ctypes.c_size_t
        for name, arguments in _ARGUMENTS.items():
            function = functions[name]
            function.argtypes, function.restype = arguments, ctypes.c_char_p
            setattr(self, name, partial(self.call, function))

    def normalize_workspace(self, channels: int, voxels: int) -> int:
        """Bytes of scratch memory for `normalize`."""
        return int(self._workspace(channels, voxels))

    def call(self, function: Callable[..., bytes | None], *arguments: object) -> None:
        if sentence := function(*arguments):
            raise BackendError(f"a kernel of libmsdk_volume was refused: {sentence.decode()}")

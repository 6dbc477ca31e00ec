"""Sums in float16, of libmsdk_resampling (plugins/resampling/sums.h), called through ctypes."""

import ctypes
from functools import cache

import numpy as np
import numpy.typing as npt

from msdk_rt.backends.libraries import resampling_library
from msdk_rt.errors import BackendError

NUMBERS_A_THREAD = 1 << 17  # fewer are done before a thread has begun
_i32, _i64, _address = ctypes.c_int32, ctypes.c_int64, ctypes.c_void_p
Floats = npt.NDArray[np.float32]


class Box(ctypes.Structure):
    """MsdkSums: a box of a larger tensor."""

    _fields_ = (
        ("sides", 4 * _i64),
        ("steps", 3 * _i64),
        ("sums", _address),
        ("threads", _i32),
    )


class HalfSumsKernels:
    """The library's functions. Raises BackendError where the library is missing or does not load."""

    def __init__(self) -> None:
        path = resampling_library()
        try:
            library = ctypes.CDLL(str(path))
            self._add, self._divide = library.msdk_add_in_half, library.msdk_divide_in_half
        except (OSError, AttributeError) as error:  # AttributeError: of another version
            raise BackendError(f"{path} does not load ({error}): reinstall msdk_rt") from error
        box = ctypes.POINTER(Box)
        self._add.argtypes, self._divide.argtypes = (box, _address, _address), (box, _address)
        self._add.restype = self._divide.restype = _i32

    def add(self, sums: Floats, values: Floats, weights: Floats, threads: int) -> bool:
        """sums += values * weights, each sum rounded to float16; False where one, or a value, is not finite.

        sums: (K, D, H, W) float32 with dense rows. values: (K, D, H, W), weights: (D, H, W), float32 in C
        order.
        """
        box = _box(sums, threads)
        return bool(self._add(box, values.ctypes.data, weights.ctypes.data))

    def divide(self, sums: Floats, by: Floats, threads: int) -> bool:
        """sums /= by (D, H, W), in C order, rounded to float16; False where a result is not finite."""
        return bool(self._divide(_box(sums, threads), by.ctypes.data))


def _box(sums: Floats, threads: int) -> Box:
    steps = [stride // sums.itemsize for stride in sums.strides[:3]]
    useful = max(1, min(threads, sums.size // NUMBERS_A_THREAD))
    return Box((4 * _i64)(*sums.shape), (3 * _i64)(*steps), sums.ctypes.data, useful)


@cache
def half_sums_kernels() -> HalfSumsKernels:
    """The library, loaded once. Raises BackendError where it is missing or does not load."""
    return HalfSumsKernels()

"""The kernels of libmsdk_resampling (plugins/resampling/resampling.h), called through ctypes."""

import ctypes
from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
import numpy.typing as npt

from msdk_rt.backends.libraries import resampling_library
from msdk_rt.errors import BackendError

CLIP_NONE, CLIP_CHANNEL, CLIP_PLANE = range(3)
_i32, _i64, _address = ctypes.c_int32, ctypes.c_int64, ctypes.c_void_p


class Resampling(ctypes.Structure):
    """MsdkResampling: what is resampled, and how."""

    _fields_ = (
        ("channels", _i64),
        ("in_", 3 * _i64),
        ("out", 3 * _i64),
        ("order", 3 * _i32),
        ("clip", _i32),
        ("half", _i32),
        ("threads", _i32),
        ("data", _address),
        ("whole_in", _i64),
        ("whole_out", _i64),
        ("first_in", _i64),
        ("first_out", _i64),
    )


def resampling_of(
    data: npt.NDArray[np.float32],
    shape: Sequence[int],
    orders: Sequence[int],
    clip: int,
    half: bool,
    threads: int,
    part: tuple[int, int, int, int] = (0, 0, 0, 0),
) -> Resampling:
    """data (channels, D, H, W) float32 in C order, which must live as long as what is returned.

    part: data are planes of a larger volume, `shape` is some planes of the results: whole_in, whole_out,
    first_in, first_out. Default: all.
    """
    channels, *sides = data.shape
    return Resampling(
        channels,
        (3 * _i64)(*sides),
        (3 * _i64)(*shape),
        (3 * _i32)(*orders),
        clip,
        int(half),
        threads,
        data.ctypes.data,
        *part,
    )


class ResamplingKernels:
    """The library's two functions; a call that it refuses is a BackendError.

    Raises BackendError where the library is missing or does not load.
    """

    def __init__(self) -> None:
        path = resampling_library()
        try:
            library = ctypes.CDLL(str(path))
            self._resample = library.msdk_resample
            self._to_labels = library.msdk_resample_to_labels
        except (OSError, AttributeError) as error:  # AttributeError: of another version
            raise BackendError(f"{path} does not load ({error}): reinstall msdk_rt") from error
        resampling = ctypes.POINTER(Resampling)
        self._resample.argtypes = (resampling, _address)
        self._to_labels.argtypes = (resampling, _address, _i32, _address, _i32)
        self._resample.restype = self._to_labels.restype = ctypes.c_char_p

    def resample(self, resampling: Resampling, out: npt.NDArray[np.float32]) -> None:
        """Fill out (channels, *shape) float32."""
        _call(self._resample, resampling, out.ctypes.data)

    def to_labels(
        self,
        resampling: Resampling,
        values: npt.NDArray[np.int32],
        sigmoid: bool,
        labels: npt.NDArray[np.uint8] | npt.NDArray[np.uint16],
    ) -> None:
        """Fill labels (*shape), uint8 or uint16."""
        _call(
            self._to_labels,
            resampling,
            values.ctypes.data,
            int(sigmoid),
            labels.ctypes.data,
            labels.itemsize,
        )


@cache
def resampling_kernels() -> ResamplingKernels:
    """The library, loaded once. Raises BackendError where it is missing or does not load."""
    return ResamplingKernels()


def _call(function: Callable[..., bytes | None], resampling: Resampling, *arguments: object) -> None:
    if sentence := function(resampling, *arguments):
        raise BackendError(f"libmsdk_resampling refused a call: {sentence.decode()}")

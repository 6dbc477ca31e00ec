"""Device memory for the checks: a GPU's, or the emulator's, behind the same C interface (device.cu)."""

import ctypes
from pathlib import Path

import numpy as np

POISON = 0xFF  # every float16 and float32 of such bytes is NaN


class DeviceError(Exception):
    """The GPU, or a kernel's launch, failed with the sentence in it."""


class Library:
    """A shared library whose functions return null or a sentence; the sentence is raised as DeviceError."""

    def __init__(self, path: Path):
        self._library = ctypes.CDLL(str(path))

    def __getattr__(self, name: str):
        function = getattr(self._library, name)
        function.restype = ctypes.c_char_p

        def call(*arguments):
            if sentence := function(*arguments):
                raise DeviceError(f"{name}: {sentence.decode()}")

        return call

    def size(self, name: str, *arguments) -> int:
        """Return the result of a function that returns a size_t."""
        function = getattr(self._library, name)
        function.restype = ctypes.c_size_t
        return function(*arguments)


class Array:
    """An array in device memory; as a ctypes argument, its pointer."""

    def __init__(self, device: Library, shape: tuple[int, ...], dtype: np.dtype):
        self._device, self.shape, self.dtype = device, shape, np.dtype(dtype)
        self.bytes = int(np.prod(shape, dtype=np.int64)) * self.dtype.itemsize
        self._as_parameter_ = ctypes.c_void_p()
        device.check_allocate(ctypes.byref(self._as_parameter_), ctypes.c_size_t(max(self.bytes, 1)))

    def __del__(self):
        if self._as_parameter_:
            self._device.check_release(self._as_parameter_)

    def fill(self, byte: int) -> None:
        self._device.check_fill(self, byte, ctypes.c_size_t(self.bytes))

    def get(self) -> np.ndarray:
        """A copy on the host, after all work enqueued before."""
        self._device.check_synchronize()
        host = np.empty(self.shape, self.dtype)
        self._device.check_download(host.ctypes.data_as(ctypes.c_void_p), self, ctypes.c_size_t(self.bytes))
        return host


class Device:
    """Memory of the device that the libraries in `folder` were built for."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.runtime = self.library("check_device")

    def library(self, name: str) -> Library:
        return Library(self.folder / f"lib{name}.so")

    def used(self) -> int:
        """Bytes of its memory in use, by whichever process."""
        used = ctypes.c_size_t()
        self.runtime.check_used(ctypes.byref(used))
        return used.value

    def empty(self, shape: tuple[int, ...], dtype=np.float32) -> Array:
        """Poisoned: what no kernel writes is NaN."""
        array = Array(self.runtime, shape, dtype)
        array.fill(POISON)
        return array

    def put(self, host: np.ndarray) -> Array:
        host = np.ascontiguousarray(host)
        array = Array(self.runtime, host.shape, host.dtype)
        self.runtime.check_upload(array, host.ctypes.data_as(ctypes.c_void_p), ctypes.c_size_t(host.nbytes))
        return array

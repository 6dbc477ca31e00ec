"""The little of CUDA's runtime that the engines need, over cuda-bindings: device, stream, memory.

Memory is freed when its object goes. Every failure is a BackendError with CUDA's own name for it.
"""

import weakref

import numpy as np

from msdk_rt.errors import BackendError

try:
    from cuda.bindings import runtime
except ImportError as error:
    raise BackendError(
        f"cuda-bindings cannot be imported ({error}): pip install 'msdk_rt[tensorrt]'"
    ) from error


def compute_capability() -> str:
    """Of the current device, such as "8.9". Raises BackendError where there is no GPU."""
    device = _checked(runtime.cudaGetDevice())
    attribute = runtime.cudaDeviceAttr
    names = (attribute.cudaDevAttrComputeCapabilityMajor, attribute.cudaDevAttrComputeCapabilityMinor)
    return ".".join(str(_checked(runtime.cudaDeviceGetAttribute(name, device))) for name in names)


class Stream:
    """Work in order; `handle` is its cudaStream_t."""

    def __init__(self) -> None:
        stream = _checked(runtime.cudaStreamCreateWithFlags(runtime.cudaStreamNonBlocking))
        self.handle = int(stream)
        weakref.finalize(self, runtime.cudaStreamDestroy, stream)

    def upload(self, source: np.ndarray, memory: "DeviceMemory") -> None:
        """Enqueue a copy of a C-contiguous array to the device."""
        self._copy(memory.address, source.ctypes.data, source.nbytes, "cudaMemcpyHostToDevice")

    def download(self, memory: "DeviceMemory", target: np.ndarray) -> None:
        """Enqueue a copy from the device into a C-contiguous array."""
        self._copy(target.ctypes.data, memory.address, target.nbytes, "cudaMemcpyDeviceToHost")

    def synchronize(self) -> None:
        """Wait for what was enqueued; raises BackendError for what of it failed."""
        _checked(runtime.cudaStreamSynchronize(self.handle))

    def _copy(self, target: int, source: int, size: int, kind: str) -> None:
        kind = getattr(runtime.cudaMemcpyKind, kind)
        _checked(runtime.cudaMemcpyAsync(target, source, size, kind, self.handle))


class DeviceMemory:
    """`size` bytes at `address` on the device."""

    def __init__(self, size: int) -> None:
        self.address = int(_checked(runtime.cudaMalloc(size), f"{size} bytes of device memory"))
        weakref.finalize(self, runtime.cudaFree, self.address)


def pinned(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """An empty array in page-locked memory, which copies need to run beside other work."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    address = int(_checked(runtime.cudaMallocHost(size), f"{size} bytes of page-locked memory"))
    block = _PinnedBlock(address, size)
    return np.asarray(block).view(dtype).reshape(shape)


class _PinnedBlock:
    """Lives as long as an array over it."""

    def __init__(self, address: int, size: int) -> None:
        self.__array_interface__ = {
            "shape": (size,),
            "typestr": "|u1",
            "data": (address, False),
            "version": 3,
        }
        weakref.finalize(self, runtime.cudaFreeHost, address)


def _checked(result: tuple, wanted: str = ""):
    """What a call returned beside its status. Raises BackendError unless that is cudaSuccess."""
    status, *values = result
    if status != runtime.cudaError_t.cudaSuccess:
        wanted = f" for {wanted}" if wanted else ""
        raise BackendError(f"CUDA says {status.name}{wanted}: {_ADVICE.get(status.name, _CHECK)}")
    return values[0] if len(values) == 1 else tuple(values)


_CHECK = "run nvidia-smi to see whether the GPU is well"
_ADVICE = {
    "cudaErrorNoDevice": "there is no NVIDIA GPU here; model.onnx runs on any CPU",
    "cudaErrorInsufficientDriver": "there is no NVIDIA driver, or it is too old; model.onnx runs on any CPU",
    "cudaErrorMemoryAllocation": "choose a smaller batch_size, or free the GPU of other programs",
}

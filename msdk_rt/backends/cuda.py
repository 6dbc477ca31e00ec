"""The part of CUDA's runtime that the backends need, over cuda-bindings: device, streams, memory, graphs.

Addresses are integers. Memory is freed when its object goes. Every failure is a BackendError with CUDA's own
name for it. msdk_rt.inference.device works with this module, or with another that has its names.
"""

import contextlib
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from msdk_rt.backends.memory import available_memory
from msdk_rt.backends.releases import Releases
from msdk_rt.errors import BackendError

try:
    from cuda.bindings import runtime
except ImportError as error:
    raise BackendError(
        f"cuda-bindings cannot be imported ({error}): pip install 'msdk_rt[gpu]' or 'msdk_rt[tensorrt]'"
    ) from error

DLPACK_DEVICE_TYPE = 2  # kDLCUDA
_releases = Releases()


def check_driver() -> None:
    """Raise BackendError where the NVIDIA driver is older than the CUDA that cuda-bindings is made for.

    Drivers run CUDA of their own major version and older ones; a newer one fails at its first kernel.
    """
    driver = int(_checked(runtime.cudaDriverGetVersion()))
    built = int(_checked(runtime.cudaRuntimeGetVersion()))
    if 0 < driver < built // 1000 * 1000:
        raise BackendError(
            f"the NVIDIA driver runs CUDA up to {_release(driver)}, and cuda-bindings here is made for CUDA "
            f"{_release(built)}: update the driver, or pip install 'cuda-bindings=={driver // 1000}.*'"
        )


def _release(version: int) -> str:
    """12060 -> 12.6."""
    return f"{version // 1000}.{version % 1000 // 10}"


def compute_capability() -> str:
    """Of the current device, such as "8.9". Raises BackendError where there is no GPU."""
    attribute = runtime.cudaDeviceAttr
    names = (attribute.cudaDevAttrComputeCapabilityMajor, attribute.cudaDevAttrComputeCapabilityMinor)
    device = current_device()
    return ".".join(str(_checked(runtime.cudaDeviceGetAttribute(name, device))) for name in names)


def current_device() -> int:
    """Number of this thread's device."""
    return int(_checked(runtime.cudaGetDevice()))


@contextlib.contextmanager
def on_device(number: int) -> Iterator[None]:
    """Make a device this thread's current one in the block."""
    before = current_device()
    _checked(runtime.cudaSetDevice(number))
    try:
        yield
    finally:
        _checked(runtime.cudaSetDevice(before))


def device_of(address: int) -> int:
    """Number of the device whose memory an address is of; -1 where it is memory of none."""
    attributes = _checked(runtime.cudaPointerGetAttributes(address))
    kinds = runtime.cudaMemoryType
    on_a_device = attributes.type in (kinds.cudaMemoryTypeDevice, kinds.cudaMemoryTypeManaged)
    return int(attributes.device) if on_a_device else -1


def free_memory() -> int:
    """Bytes that are free on the current device.

    Where it shares the processor's memory (Jetson), cudaMemGetInfo counts the system's file cache as used,
    which gives way to an allocation: there it is what Linux calls available, if that is more.
    """
    free, _total = _checked(runtime.cudaMemGetInfo())
    shared = _checked(
        runtime.cudaDeviceGetAttribute(runtime.cudaDeviceAttr.cudaDevAttrIntegrated, current_device())
    )
    return max(int(free), available_memory() or 0) if shared else int(free)


class Event:
    """A point in a stream's work. One that was never recorded has passed."""

    def __init__(self) -> None:
        event = _checked(runtime.cudaEventCreateWithFlags(runtime.cudaEventDisableTiming))
        self.handle = int(event)
        weakref.finalize(self, _releases.call, runtime.cudaEventDestroy, event)

    def synchronize(self) -> None:
        """Wait until the point has passed; raises BackendError for work that failed."""
        _checked(runtime.cudaEventSynchronize(self.handle))


class Graph:
    """Captured work; `launch` enqueues it again, with the addresses and sizes of when it was captured."""

    def __init__(self, graph: Any) -> None:
        self._replay = _checked(runtime.cudaGraphInstantiate(graph, 0))
        weakref.finalize(self, _releases.call, runtime.cudaGraphExecDestroy, self._replay)

    def launch(self, stream: "Stream") -> None:
        _checked(runtime.cudaGraphLaunch(self._replay, stream.handle))


class Stream:
    """Work in order; `handle` is its cudaStream_t: a new one, or one that belongs to somebody else."""

    def __init__(self, handle: int | None = None) -> None:
        if handle is None:
            stream = _checked(runtime.cudaStreamCreateWithFlags(runtime.cudaStreamNonBlocking))
            handle = int(stream)
            weakref.finalize(self, _releases.call, runtime.cudaStreamDestroy, stream)
        self.handle = handle

    def upload(self, source: npt.NDArray[Any], address: int) -> None:
        """Enqueue a copy of a C-contiguous array to the device."""
        self._copy(address, source.ctypes.data, source.nbytes, "cudaMemcpyHostToDevice")

    def download(self, address: int, target: npt.NDArray[Any]) -> None:
        """Enqueue a copy from the device into a C-contiguous array."""
        self._copy(target.ctypes.data, address, target.nbytes, "cudaMemcpyDeviceToHost")

    def copy(self, source: int, target: int, size: int) -> None:
        """Enqueue a copy of `size` bytes on the device."""
        self._copy(target, source, size, "cudaMemcpyDeviceToDevice")

    def zero(self, address: int, size: int) -> None:
        """Enqueue zeros into `size` bytes."""
        _checked(runtime.cudaMemsetAsync(address, 0, size, self.handle))

    def record(self, event: Event) -> None:
        """Set the event to the point after all work that was enqueued so far."""
        _checked(runtime.cudaEventRecord(event.handle, self.handle))

    def wait(self, event: Event) -> None:
        """Make all work that is enqueued from now on run after the event."""
        _checked(runtime.cudaStreamWaitEvent(self.handle, event.handle, 0))

    def follow(self, handle: int) -> None:
        """Make all work that is enqueued from now on run after the work given so far to another stream."""
        event = Event()
        Stream(handle).record(event)
        self.wait(event)

    def capture(self, work: Callable[[], None]) -> Graph:
        """Capture the work that `work` enqueues here; it does not run now.

        Other threads may use CUDA meanwhile. What this one frees is freed afterwards.

        Raises BackendError for work that cannot be captured.
        """
        mode = runtime.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        with _releases.held():
            _checked(runtime.cudaStreamBeginCapture(self.handle, mode))
            try:
                work()
            except BaseException:
                _status, graph = runtime.cudaStreamEndCapture(self.handle)
                _destroy(graph)
                raise
            graph = _checked(runtime.cudaStreamEndCapture(self.handle))
        try:
            return Graph(graph)
        finally:
            _destroy(graph)

    def synchronize(self) -> None:
        """Wait for all enqueued work; raises BackendError if some of it failed."""
        _checked(runtime.cudaStreamSynchronize(self.handle))

    def _copy(self, target: int, source: int, size: int, way: str) -> None:
        kind = getattr(runtime.cudaMemcpyKind, way)
        _checked(runtime.cudaMemcpyAsync(target, source, size, kind, self.handle))


class DeviceMemory:
    """`size` bytes at `address` on the device."""

    def __init__(self, size: int) -> None:
        self.address, self.size = (
            int(_checked(runtime.cudaMalloc(size), f"{size} bytes of device memory")),
            size,
        )
        weakref.finalize(self, _releases.call, runtime.cudaFree, self.address)


def pinned(shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """An empty array in page-locked memory, which copies need to run beside other work."""
    size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
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
        weakref.finalize(self, _releases.call, runtime.cudaFreeHost, address)


def _destroy(graph: Any) -> None:
    """Free a captured graph; a capture that failed may have left none."""
    if graph is not None and int(graph):
        runtime.cudaGraphDestroy(graph)


def _checked(result: tuple[Any, ...], wanted: str = "") -> Any:
    """Return the values of a call without its status. Raises BackendError unless that is cudaSuccess."""
    status, *values = result
    if status != runtime.cudaError_t.cudaSuccess:
        wanted = f" for {wanted}" if wanted else ""
        raise BackendError(f"CUDA says {status.name}{wanted}: {_ADVICE.get(status.name, _CHECK)}")
    return values[0] if len(values) == 1 else tuple(values)


_CHECK = "run nvidia-smi to see whether the GPU is well"
_ADVICE = {
    "cudaErrorNoDevice": "there is no NVIDIA GPU here; model.onnx runs on any CPU",
    "cudaErrorInsufficientDriver": "there is no NVIDIA driver, or it is too old; model.onnx runs on any CPU",
    "cudaErrorMemoryAllocation": "choose a smaller batch_size, or end other programs that use the memory",
    "cudaErrorInvalidDevice": "there are fewer GPUs than that: see nvidia-smi -L for their numbers",
}

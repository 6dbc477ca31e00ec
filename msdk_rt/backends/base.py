"""Protocols of an inference library, and of the device that it computes on."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Provider = str | tuple[str, dict[str, Any]]  # as ONNX Runtime takes them: a name, or (name, options)


class Event(Protocol):
    """A point in a stream's work."""

    def synchronize(self) -> None: ...


class Stream(Protocol):
    """Work in order on a device; `handle` is its cudaStream_t. See msdk_rt.backends.cuda.Stream."""

    handle: int

    def upload(self, source: npt.NDArray[Any], address: int) -> None: ...
    def download(self, address: int, target: npt.NDArray[Any]) -> None: ...
    def copy(self, source: int, target: int, size: int) -> None: ...
    def zero(self, address: int, size: int) -> None: ...
    def record(self, event: Any) -> None: ...
    def wait(self, event: Any) -> None: ...
    def follow(self, handle: int) -> None: ...
    def capture(self, work: Callable[[], None]) -> "Graph": ...
    def synchronize(self) -> None: ...


class Graph(Protocol):
    """Captured work."""

    def launch(self, stream: Any) -> None: ...


class Memory(Protocol):
    """`size` bytes at `address` on the device, for as long as this object lives."""

    address: int
    size: int


class Device(Protocol):
    """The names of msdk_rt.backends.cuda that a pipeline uses; a stand-in in host memory has them too."""

    DLPACK_DEVICE_TYPE: int

    def Stream(self, handle: int | None = None) -> Stream: ...
    def Event(self) -> Event: ...
    def DeviceMemory(self, size: int) -> Memory: ...
    def pinned(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]: ...
    def free_memory(self) -> int: ...
    def device_of(self, address: int) -> int: ...
    def on_device(self, number: int) -> AbstractContextManager[None]: ...


class Network(Protocol):
    """A loaded network on one stream of a GPU, for one thread.

    stream: all of the network's work is on it. device: the GPU's number. graphs: whether `enqueue` may be
    captured in a CUDA graph. memory: bytes of the device that it works in, None if unknown.
    """

    stream: Stream
    device: int
    graphs: bool
    memory: int | None

    def enqueue(self, image: int, logits: int, count: int) -> None:
        """Enqueue the inference of `count` windows between two addresses on the device: image (count, C, D,
        H, W) float32 -> logits (count, K, D, H, W) float32. The work may still have to run when it returns.

        Raises BackendError.
        """


class Backend(Protocol):
    """A loaded network. Its methods may be called from several threads at once.

    library: name and version of the inference library, such as {"onnxruntime": "1.32.0"}. threads: of one
    inference, as it runs; None where the library chooses them.
    """

    library: Mapping[str, str]
    threads: int | None

    @property
    def providers(self) -> list[str]:
        """Names of the execution providers in use, in order of preference."""

    def infer(self, windows: Floats) -> Floats:
        """windows (B, C, D, H, W) float32 -> logits (B, K, D, H, W) float32, an array the caller may change.

        Raises BackendError.
        """

    def network(self) -> Network | None:
        """The network for this thread on the GPU; None where the CPU works on volumes.

        Raises BackendError.
        """

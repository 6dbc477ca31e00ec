"""msdk_rt.backends.cuda over host memory, with the volume kernels on the emulator.

Streams are queues that run as late as they may, or earlier at random: each has a speed, from never before
somebody waits to at once, and some of its work runs after each piece that is enqueued anywhere. So a wait or
an event that is missing shows as a wrong result under some seed. Memory starts as NaN, and freeing it waits
for all streams, as cudaFree does. While a thread captures, it may neither allocate nor free nor wait.
"""

import contextlib
import ctypes
import itertools
import random
import threading
import weakref
from collections import deque

import numpy as np

from msdk_rt.backends.onnxruntime import SessionOnDevice
from msdk_rt.backends.releases import Releases
from msdk_rt.backends.volume_kernels import VolumeKernels, Windows
from msdk_rt.errors import BackendError
from tests.support.emulator_build import COMPILED, ROOT, emulated_library

VOLUME = ROOT / "plugins" / "volume"
POISON = 0xFF


class EmulatedDevice:
    """Has the names of msdk_rt.backends.cuda. memory: bytes there are. seed: of the streams' order."""

    DLPACK_DEVICE_TYPE = 1  # kDLCPU: where the memory is

    def __init__(self, seed: int = 0, memory: int = 1 << 40):
        self.lock, self.random = threading.RLock(), random.Random(seed)
        self.streams, self.numbers = weakref.WeakValueDictionary(), itertools.count(3)
        self.memory, self.blocks, self.peak = memory, {}, 0
        self.captures = self.launches = 0
        self.releases = Releases()
        self.capturing: set[int] = set()  # threads; captures are thread-local, as msdk_rt asks for them
        self.broken: set[int] = set()  # those whose capture a forbidden call has broken

    def Stream(self, handle=None):
        return Stream(self) if handle is None else self.streams[handle]

    def Event(self):
        return Event(self)

    def DeviceMemory(self, size):
        return DeviceMemory(self, size)

    def pinned(self, shape, dtype):
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        return np.full(size, POISON, np.uint8).view(dtype).reshape(shape)

    def free_memory(self):
        return self.memory - sum(self.blocks.values())

    def device_of(self, address):
        return 0 if any(first <= address < first + size for first, size in self.blocks.items()) else -1

    def refuse_in_a_capture(self, call):
        """As CUDA does: the call fails, and so does the capture, wherever the call came from."""
        if (thread := threading.get_ident()) in self.capturing:
            self.broken.add(thread)
            raise BackendError(
                f"CUDA says cudaErrorStreamCaptureUnsupported: {call} while a stream is captured"
            )

    @contextlib.contextmanager
    def on_device(self, number):
        assert number == 0
        yield

    def run_some(self):
        """Some of what is ready, as much of each stream as its speed and chance allow."""
        streams = sorted(self.streams.values(), key=lambda stream: stream.handle)
        self.random.shuffle(streams)
        for stream in streams:
            for _ in range(self.random.randint(0, stream.speed)):
                if stream.is_ready():
                    stream.step()


class Point:
    """Where an event was recorded last."""

    def __init__(self, stream):
        self.stream, self.passed = stream, False

    def reach(self):
        while not self.passed:
            self.stream.advance()


class Event:
    def __init__(self, device):
        self.device, self.point = device, None

    def synchronize(self):
        self.device.refuse_in_a_capture("a wait for an event")
        with self.device.lock:
            if self.point:
                self.point.reach()


class Graph:
    def __init__(self, work):
        self.work = work

    def launch(self, stream):
        stream.device.launches += 1
        for piece in self.work:
            stream.enqueue(piece)


class Stream:
    def __init__(self, device):
        self.device, self.handle, self.queue, self.captured = device, next(device.numbers), deque(), None
        self.speed = device.random.choice((0, 1, 30))
        device.streams[self.handle] = self

    def enqueue(self, work):
        with self.device.lock:
            if self.captured is not None:
                self.captured.append(work)
                return
            self.queue.append(work)
            self.device.run_some()

    def is_ready(self):
        return bool(self.queue) and not (isinstance(self.queue[0], Point) and not self.queue[0].passed)

    def step(self):
        work = self.queue.popleft()
        if not isinstance(work, Point):
            work()

    def advance(self):
        """The next piece of work, after what it has to wait for."""
        if isinstance(self.queue[0], Point):
            self.queue[0].reach()
        self.step()

    def synchronize(self):
        self.device.refuse_in_a_capture("a wait for a stream")
        with self.device.lock:
            while self.queue:
                self.advance()

    def record(self, event):
        assert self.captured is None
        point = event.point = Point(self)
        self.enqueue(lambda: setattr(point, "passed", True))

    def wait(self, event):
        assert self.captured is None
        if event.point:
            self.enqueue(event.point)

    def follow(self, handle):
        event = Event(self.device)
        self.device.streams[handle].record(event)
        self.wait(event)

    def capture(self, work):
        self.captured, thread = [], threading.get_ident()
        self.device.capturing.add(thread)
        with self.device.releases.held():
            try:
                work()
                if thread in self.device.broken:
                    raise BackendError("CUDA says cudaErrorStreamCaptureInvalidated")
                self.device.captures += 1
                return Graph(self.captured)
            finally:
                self.captured = None
                self.device.capturing.discard(thread)
                self.device.broken.discard(thread)

    def upload(self, source, address):
        assert source.flags.c_contiguous
        self._move(address, source.ctypes.data, source.nbytes, source)

    def download(self, address, target):
        assert target.flags.c_contiguous
        self._move(target.ctypes.data, address, target.nbytes, target)

    def copy(self, source, target, size):
        self._move(target, source, size, None)

    def zero(self, address, size):
        self.enqueue(lambda: ctypes.memset(address, 0, size))

    def _move(self, target, source, size, owner):
        self.enqueue(lambda: (ctypes.memmove(target, source, size), owner))


class DeviceMemory:
    def __init__(self, device, size):
        device.refuse_in_a_capture("an allocation")
        if size > device.free_memory():
            raise BackendError(f"CUDA says cudaErrorMemoryAllocation for {size} bytes of device memory")
        block = np.full(size, POISON, np.uint8)
        self.address, self.size = block.ctypes.data, size
        with device.lock:
            device.blocks[self.address] = size
            device.peak = max(device.peak, sum(device.blocks.values()))
        weakref.finalize(self, device.releases.call, release, device, block)


def release(device, block):
    """cudaFree."""
    device.refuse_in_a_capture("a release of memory")
    with device.lock:
        for stream in list(device.streams.values()):
            while stream.queue:
                stream.advance()
        block[:] = POISON
        del device.blocks[block.ctypes.data]


class EmulatedKernels(VolumeKernels):
    """The kernels' own sources on the emulator, each a piece of work on a stream of the device."""

    def __init__(self, device: EmulatedDevice):
        library = COMPILED / "libmsdk_volume.so"
        super().__init__(
            emulated_library(library, sorted(VOLUME.glob("*.cu")), VOLUME.parent, VOLUME.glob("*.*h"))
        )
        self.device = device

    def call(self, function, *arguments):
        frozen = [
            Windows.from_buffer_copy(argument._obj) if hasattr(argument, "_obj") else argument
            for argument in arguments
        ]
        self.device.streams[arguments[-1]].enqueue(lambda: VolumeKernels.call(self, function, *frozen))


class EmulatedNetwork(SessionOnDevice):
    """ONNX Runtime on the CPU between addresses of the emulated device."""

    graphs = True

    def __init__(self, session, device: EmulatedDevice):
        super().__init__(session, self.stream_of(device), 0, "cpu")

    def stream_of(self, device: EmulatedDevice):
        return device.Stream()

    def enqueue(self, image, logits, count):
        self.stream.enqueue(lambda: SessionOnDevice.enqueue(self, image, logits, count))

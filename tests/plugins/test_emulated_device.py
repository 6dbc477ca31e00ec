"""The emulated device's captures: what CUDA forbids meanwhile fails, and breaks the capture."""

import contextlib
import gc
import threading

import numpy as np
import pytest

from msdk_rt.errors import BackendError
from tests.support.emulated_device import EmulatedDevice, release


@pytest.fixture
def device():
    return EmulatedDevice()


CALLS = {
    "an allocation": lambda device, stream, event: device.DeviceMemory(4),
    "a wait for a stream": lambda device, stream, event: stream.synchronize(),
    "a wait for an event": lambda device, stream, event: event.synchronize(),
    "a release of memory": lambda device, stream, event: release(device, np.zeros(4, np.uint8)),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_call_that_cuda_forbids_is_refused(device, call):
    stream, event = device.Stream(), device.Event()
    with pytest.raises(BackendError, match=f"StreamCaptureUnsupported: {call}"):
        stream.capture(lambda: CALLS[call](device, stream, event))
    assert stream.capture(lambda: None)  # the next capture is a new one


def test_a_refused_call_breaks_the_capture_even_where_its_own_error_is_lost(device):
    """As that of a finaliser, which reaches nobody."""

    def work():
        with contextlib.suppress(BackendError):
            release(device, np.zeros(4, np.uint8))

    with pytest.raises(BackendError, match="StreamCaptureInvalidated"):
        device.Stream().capture(work)


def test_memory_that_is_garbage_meanwhile_is_freed_after_the_capture(device):
    stream, memory = device.Stream(), [device.DeviceMemory(4)]
    assert stream.capture(lambda: (memory.clear(), gc.collect()))
    assert not device.blocks


def test_other_threads_may_allocate_meanwhile(device):
    made = []

    def in_another_thread():
        thread = threading.Thread(target=lambda: made.append(device.DeviceMemory(4)))
        thread.start()
        thread.join()

    assert device.Stream().capture(in_another_thread)
    assert len(made) == 1

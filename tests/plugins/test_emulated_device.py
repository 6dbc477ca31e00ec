"""The emulated device's captures: what CUDA forbids meanwhile fails, and breaks the capture."""

import threading

import pytest

from msdk_rt.errors import BackendError
from tests.support.emulated_device import EmulatedDevice


@pytest.fixture
def device():
    return EmulatedDevice()


CALLS = {
    "an allocation": lambda device, stream, event: device.DeviceMemory(4),
    "a wait for a stream": lambda device, stream, event: stream.synchronize(),
    "a wait for an event": lambda device, stream, event: event.synchronize(),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_call_that_cuda_forbids_is_refused(device, call):
    stream, event = device.Stream(), device.Event()
    with pytest.raises(BackendError, match=f"StreamCaptureUnsupported: {call}"):
        stream.capture(lambda: CALLS[call](device, stream, event))
    assert stream.capture(lambda: None)  # the next capture is a new one


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_memory_that_is_freed_meanwhile_breaks_the_capture(device):
    """As garbage collection frees it: its own exception reaches nobody."""
    stream, memory = device.Stream(), [device.DeviceMemory(4)]
    with pytest.raises(BackendError, match="StreamCaptureInvalidated"):
        stream.capture(memory.clear)
    assert not device.blocks


def test_other_threads_may_allocate_meanwhile(device):
    made = []

    def in_another_thread():
        thread = threading.Thread(target=lambda: made.append(device.DeviceMemory(4)))
        thread.start()
        thread.join()

    assert device.Stream().capture(in_another_thread)
    assert len(made) == 1

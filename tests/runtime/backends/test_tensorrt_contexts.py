"""Execution contexts of one engine, made by several threads: TensorRT allows one at a time."""

import threading
import time
from types import SimpleNamespace

import pytest

THREADS = 4


class Engine:
    """An engine that says where two threads make contexts at once."""

    device_memory_size_v2 = 8

    def __init__(self):
        self.made, self.together = 0, False
        self._busy = False

    def create_execution_context(self, strategy):
        self.together |= self._busy
        self._busy = True
        time.sleep(0.02)  # in which any other thread comes here too
        self._busy = False
        self.made += 1
        return SimpleNamespace(
            set_device_memory=lambda address, size: None,
            set_input_shape=lambda name, shape: True,
            set_tensor_address=lambda name, address: True,
            execute_async_v3=lambda stream: True,
        )


def test_threads_make_contexts_of_an_engine_one_at_a_time(import_tensorrt, monkeypatch):
    import_tensorrt(pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is for x86-64 Linux"))
    from msdk_rt.backends import tensorrt

    monkeypatch.setattr(
        tensorrt.cuda, "DeviceMemory", lambda size: SimpleNamespace(address=0, size=size), raising=True
    )
    monkeypatch.setattr(tensorrt.cuda, "Stream", lambda: SimpleNamespace(handle=0))
    engine, lock = Engine(), threading.Lock()

    def work():
        tensorrt.EngineOnDevice(engine, (1, 8, 8, 8), 0, lock).enqueue(0, 0, 1)

    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert engine.made == THREADS
    assert not engine.together

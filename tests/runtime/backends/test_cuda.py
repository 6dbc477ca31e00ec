"""msdk_rt.backends.cuda over the real cuda-bindings: a round trip on a GPU, a sentence without one."""

import ast
import gc
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cuda.bindings import runtime

from msdk_rt.backends import cuda
from msdk_rt.errors import BackendError
from tests.support.gpu import has_gpu


@pytest.mark.gpu
@pytest.mark.skipif(not has_gpu(), reason="no GPU: `make gpu-check` runs it where there is one")
def test_memory_goes_there_and_back():
    stream, other = cuda.Stream(), cuda.Stream()
    first, second = cuda.DeviceMemory(4 * 1001), cuda.DeviceMemory(4 * 1001)
    source, target = (cuda.pinned((7, 11, 13), np.float32) for _ in range(2))
    source[...] = np.random.default_rng(3).standard_normal(source.shape)
    target[...] = np.nan
    stream.upload(source, first.address)
    graph = stream.capture(lambda: stream.copy(first.address, second.address, first.size))
    stream.zero(second.address, second.size)
    graph.launch(stream)
    other.follow(stream.handle)
    other.download(second.address, target)
    arrived = cuda.Event()
    other.record(arrived)
    arrived.synchronize()
    np.testing.assert_array_equal(source, target)
    assert cuda.device_of(first.address) == cuda.current_device()
    assert cuda.free_memory() > 0


@pytest.mark.gpu
@pytest.mark.skipif(not has_gpu(), reason="no GPU: `make gpu-check` runs it where there is one")
def test_memory_that_is_freed_during_a_capture_leaves_it_whole():
    stream, garbage, kept = cuda.Stream(), [cuda.DeviceMemory(64)], cuda.DeviceMemory(64)
    graph = stream.capture(lambda: (stream.zero(kept.address, kept.size), garbage.clear()))
    graph.launch(stream)
    stream.synchronize()


def test_garbage_of_a_capture_is_freed_after_it(monkeypatch):
    """CUDA breaks a capture in whose thread memory is freed, and garbage collection runs anywhere."""
    success, calls = runtime.cudaError_t.cudaSuccess, []

    def said(name, *values):
        monkeypatch.setattr(cuda.runtime, name, lambda *_: (calls.append(name), (success, *values))[1])

    said("cudaMalloc", 4096)
    for name in ("cudaFree", "cudaStreamBeginCapture", "cudaGraphDestroy", "cudaGraphExecDestroy"):
        said(name)
    said("cudaStreamEndCapture", 1)
    said("cudaGraphInstantiate", 2)

    class Cycle:
        def __init__(self):
            self.memory, self.itself = cuda.DeviceMemory(64), self

    def work():
        Cycle()
        gc.collect()
        calls.append("work")

    cuda.Stream(1).capture(work)
    assert calls[calls.index("work") :][:3] == ["work", "cudaStreamEndCapture", "cudaFree"]
    calls.clear()
    Cycle()
    gc.collect()
    assert calls[-1] == "cudaFree"


@pytest.mark.parametrize(
    ("shares_memory", "available", "expected"),
    [(0, 900, 100), (1, 900, 900), (1, 50, 100), (1, None, 100)],
)
def test_a_jetson_has_the_memory_that_linux_gives_back(shares_memory, available, expected, monkeypatch):
    success = runtime.cudaError_t.cudaSuccess
    monkeypatch.setattr(cuda.runtime, "cudaMemGetInfo", lambda: (success, 100, 1000))
    monkeypatch.setattr(cuda.runtime, "cudaGetDevice", lambda: (success, 0))
    monkeypatch.setattr(cuda.runtime, "cudaDeviceGetAttribute", lambda *_: (success, shares_memory))
    monkeypatch.setattr(cuda, "available_memory", lambda: available)
    assert cuda.free_memory() == expected


@pytest.mark.skipif(has_gpu(), reason="there is a GPU, and these are the sentences without one")
@pytest.mark.parametrize(
    "call",
    [
        cuda.compute_capability,
        cuda.current_device,
        cuda.free_memory,
        cuda.Stream,
        cuda.Event,
        lambda: cuda.device_of(4096),
        lambda: cuda.on_device(0).__enter__(),
        lambda: cuda.Graph(0),
        lambda: cuda.DeviceMemory(64),
        lambda: cuda.pinned((4, 4), np.float32),
        lambda: cuda.Stream(1).upload(np.zeros(4), 4096),
        lambda: cuda.Stream(1).download(4096, np.zeros(4)),
        lambda: cuda.Stream(1).copy(4096, 8192, 16),
        lambda: cuda.Stream(1).zero(4096, 16),
        lambda: cuda.Stream(1).capture(lambda: None),
        lambda: cuda.Stream(1).synchronize(),
        lambda: cuda.Stream(1).follow(2),
    ],
)
def test_without_a_gpu_every_call_says_so(call):
    with pytest.raises(BackendError, match=r"CUDA says cudaError\w+.*model.onnx runs on any CPU"):
        call()


def test_calls_have_the_names_and_arguments_of_cuda_bindings():
    """Its functions are built in, so that no type checker knows them: docstrings begin with the signature."""
    tree = list(ast.walk(ast.parse(Path(cuda.__file__).read_text())))
    used = {node.attr for node in tree if is_of_runtime(node)}
    calls = {node.func.attr: len(node.args) for node in tree if is_of_runtime(getattr(node, "func", None))}
    assert [name for name in used if not hasattr(runtime, name)] == []
    assert len(calls) >= 15
    for name, count in calls.items():
        signature = re.match(r"\w+\((.*)\)", getattr(runtime, name).__doc__).group(1)
        assert count == len([argument for argument in signature.split(",") if argument]), signature


def is_of_runtime(node):
    return isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "runtime"


def test_the_driver_is_compared_with_the_runtime_inside_cuda_bindings():
    """Not with a libcudart of the machine, which may be missing, another one, and in the way of others."""
    code = (
        "from msdk_rt.backends import cuda; cuda.check_driver(); "
        "print('libcudart' in open('/proc/self/maps').read())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stdout + done.stderr


@pytest.mark.parametrize(
    ("driver", "built", "said"),
    [
        (
            12060,
            13000,
            r"runs CUDA up to 12\.6, and cuda-bindings here is made for CUDA 13\.0: update",
        ),
        (11080, 12090, r"CUDA up to 11\.8, .* made for CUDA 12\.9: .*'cuda-bindings==11\.\*'"),
        (12060, 12090, None),
        (13020, 12060, None),
        (0, 13000, None),  # no driver: other calls say so
    ],
)
def test_an_older_driver_is_told_before_the_first_kernel(driver, built, said, monkeypatch):
    success = runtime.cudaError_t.cudaSuccess
    monkeypatch.setattr(cuda.runtime, "cudaDriverGetVersion", lambda: (success, driver))
    monkeypatch.setattr(cuda.runtime, "cudaRuntimeGetVersion", lambda: (success, built))
    if said is None:
        cuda.check_driver()
        return
    with pytest.raises(BackendError, match=said):
        cuda.check_driver()

"""msdk_rt.cuda over the real cuda-bindings: on a GPU what is uploaded comes back; without one, a sentence."""

import numpy as np
import pytest

from msdk_rt import cuda
from msdk_rt.errors import BackendError


def has_gpu():
    try:
        return bool(cuda.compute_capability())
    except BackendError:
        return False


@pytest.mark.skipif(not has_gpu(), reason="no GPU")
def test_memory_goes_there_and_back():
    stream, memory = cuda.Stream(), cuda.DeviceMemory(4 * 1001)
    source, target = (cuda.pinned((7, 11, 13), np.float32) for _ in range(2))
    source[...] = np.random.default_rng(3).standard_normal(source.shape)
    target[...] = np.nan
    stream.upload(source, memory)
    stream.download(memory, target)
    stream.synchronize()
    np.testing.assert_array_equal(source, target)


@pytest.mark.skipif(has_gpu(), reason="there is a GPU")
@pytest.mark.parametrize(
    "call",
    [
        cuda.compute_capability,
        cuda.Stream,
        lambda: cuda.DeviceMemory(64),
        lambda: cuda.pinned((4, 4), np.float32),
    ],
)
def test_without_a_gpu_every_call_says_so(call):
    with pytest.raises(BackendError, match=r"CUDA says cudaError\w+.*model.onnx runs on any CPU"):
        call()

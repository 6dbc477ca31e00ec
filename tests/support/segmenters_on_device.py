"""Segmenters on an emulated device, and what their results are compared with on the host."""

import contextlib
import warnings
from pathlib import Path
from unittest.mock import patch

import numpy as np

import msdk_rt.segmenter
from msdk_rt import Segmentation, Segmenter
from msdk_rt.inference.device.arrays import DeviceArray
from msdk_rt.inference.device.pipeline import DevicePipeline
from msdk_rt.inference.host import HostPipeline
from tests.support.emulated_device import EmulatedKernels, EmulatedNetwork
from tests.support.small_model import write_artifact

WINDOW = (4, 3, 5)
SHAPE = (6, 5, 7)  # 2 x 3 x 2 windows


@contextlib.contextmanager
def on_device(device, network=EmulatedNetwork):
    """Segmenters work as where their backend runs on a GPU, with the emulated device in place of CUDA."""
    kernels = EmulatedKernels(device)

    def pipeline(backend, recipe):
        return DevicePipeline(network(backend._session, device), recipe, device, kernels)

    with patch.object(msdk_rt.segmenter, "_windows_pipeline", pipeline), warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def model(folder, channels=1, classes=2, **fields):
    return write_artifact(Path(folder) / "model.onnx", channels, classes, WINDOW, **fields)


def volume_of(seed, channels=1, shape=SHAPE):
    rng = np.random.default_rng(seed)
    shape = (channels, *shape)
    return (rng.gamma(2, 100, shape) * (rng.random(shape) < 0.8)).astype(np.float32)


def on_host(path, volumes, **settings):
    """Segmentations of the host path, which tests/runtime/test_segmenter.py holds to MONAI."""
    segmenter = Segmenter(path, **settings)
    pipeline = HostPipeline(segmenter._backend, segmenter._recipe)
    return [Segmentation(*pipeline.start(volume, True).result()) for volume in volumes]


def check_equal(mine, theirs, activation="softmax"):
    """The same labels, but where two are as likely: sums of the normalisation differ in their order."""
    assert mine.labels.dtype == theirs.labels.dtype
    np.testing.assert_allclose(mine.probabilities, theirs.probabilities, rtol=1e-4, atol=1e-5)
    margin = np.abs(theirs.probabilities - 0.5).min(0)
    if activation == "softmax":
        second, first = np.partition(np.pad(theirs.probabilities, [(1, 0), *[(0, 0)] * 3]), (-2, -1), 0)[-2:]
        margin = first - second
    np.testing.assert_array_equal(mine.labels[margin > 1e-4], theirs.labels[margin > 1e-4])
    assert np.count_nonzero(margin <= 1e-4) <= 1 + margin.size / 10


def put(device, array):
    """An array on the device, as another library would have it; it may still be on its way."""
    there, stream = DeviceArray(device, 0, array.shape, array.dtype), device.Stream()
    stream.upload(array, there.address)
    return there, stream


class Lent:
    """An array of another library: `fields` as its __cuda_array_interface__ has them."""

    def __init__(self, owner, **fields):
        self.owner, self.__cuda_array_interface__ = owner, owner.__cuda_array_interface__ | fields


class LentByDlpack:
    """The same through DLPack. stream: that brings it there, which the consumer's has to follow."""

    def __init__(self, owner, stream, device):
        self._owner, self._stream, self._device = owner, stream, device

    def __dlpack_device__(self):
        return 2, 0

    def __dlpack__(self, stream):
        self._device.Stream(stream).follow(self._stream.handle)
        return self._owner.__dlpack__(stream=stream)

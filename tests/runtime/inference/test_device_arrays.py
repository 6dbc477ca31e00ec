"""Arrays of other libraries on an emulated device go in without a copy, results stay there."""

import gc
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from msdk_rt import BackendError, InputError, Segmentation, Segmenter
from msdk_rt.inference.device.arrays import DeviceArray
from tests.support.emulated_device import EmulatedDevice
from tests.support.segmenters_on_device import (
    SHAPE,
    Lent,
    LentByDlpack,
    check_equal,
    model,
    on_host,
    put,
    volume_of,
)


@pytest.mark.parametrize("protocol", ["cuda_array_interface", "dlpack"])
@pytest.mark.parametrize("normalization", ["nonzero_zscore", "none"])
def test_arrays_on_the_device(tmp_path, device, protocol, normalization):
    path = model(tmp_path, 2, 3, normalization=normalization)
    segmenter, volume = Segmenter(path, batch_size=2), volume_of(4, 2)
    (expected,) = on_host(path, [volume], batch_size=2)
    owner, stream = put(device, volume)
    by_dlpack = protocol == "dlpack"
    lent = LentByDlpack(owner, stream, device) if by_dlpack else Lent(owner, stream=stream.handle)
    for _ in range(3):
        result = segmenter.run(lent, return_probabilities=True)
        assert isinstance(result.labels, DeviceArray)
        check_equal(Segmentation(result.labels.get(), result.probabilities.get()), expected)
        np.testing.assert_array_equal(owner.get(), volume)
    labels = segmenter.run(lent)
    assert labels.shape == SHAPE
    np.testing.assert_array_equal(torch.from_dlpack(labels).numpy(), labels.get())
    np.testing.assert_array_equal(np.from_dlpack(result.probabilities), result.probabilities.get())
    assert labels.__cuda_array_interface__ == {
        "shape": SHAPE, "typestr": "|u1", "data": (labels.address, False), "strides": None, "stream": None,
        "version": 3,
    }  # fmt: skip


def test_several_arrays_on_the_device(tmp_path, device):
    path, volumes = model(tmp_path), [volume_of(k) for k in range(3)]
    expected = on_host(path, volumes)
    batch, stream = put(device, np.stack(volumes))
    segmenter = Segmenter(path)
    results = segmenter.run(Lent(batch, stream=stream.handle), return_probabilities=True)
    first, stream = put(device, volumes[0])
    mixed = segmenter.run([Lent(first, stream=stream.handle), *volumes[1:]], return_probabilities=True)
    assert [type(result.labels) for result in mixed] == [DeviceArray, np.ndarray, np.ndarray]
    for result, theirs in zip(results, expected, strict=True):
        check_equal(Segmentation(result.labels.get(), result.probabilities.get()), theirs)
    for result, theirs in zip(mixed[1:], expected[1:], strict=True):
        check_equal(result, theirs)


def test_a_result_lives_as_long_as_what_was_made_of_it(tmp_path, device):
    volume, stream = put(device, volume_of(0))
    segmenter = Segmenter(model(tmp_path))
    lent = Lent(volume, stream=stream.handle)
    before = len(device.blocks)
    labels = segmenter.run(lent)
    before, copy = len(device.blocks) - 1, labels.get()
    tensor, unused = torch.from_dlpack(labels), labels.__dlpack__()
    del labels
    gc.collect()
    np.testing.assert_array_equal(tensor.numpy(), copy)
    del tensor
    gc.collect()
    assert len(device.blocks) == before + 1
    del unused
    gc.collect()
    assert len(device.blocks) == before
    with pytest.raises(BufferError, match="shared where it lies"):
        segmenter.run(lent).__dlpack__(copy=True)


LENDS_AND_ENDS = """
import ctypes, sys, types
import numpy as np
from msdk_rt.inference.device import dlpack
values = np.full(4, 2.5, np.float32)
array = types.SimpleNamespace(address=values.ctypes.data, shape=(4,), dtype=values.dtype, owner=values)
capsule = dlpack.capsule(array, (1, 0))
python, taker = ctypes.pythonapi, ctypes.CDLL(sys.argv[1])
python.PyCapsule_GetPointer.restype = ctypes.c_void_p
python.PyCapsule_GetPointer.argtypes = python.PyCapsule_SetName.argtypes = ctypes.py_object, ctypes.c_char_p
taker.take(ctypes.c_void_p(python.PyCapsule_GetPointer(capsule, b"dltensor")))
python.PyCapsule_SetName(capsule, b"used_dltensor")
"""


def test_a_taker_may_let_go_after_python_has_ended(tmp_path):
    """A static object of a C++ library does: our deleter is Python's, which is gone by then."""
    library = tmp_path / "taker.so"
    source = Path(__file__).with_name("late_taker.c")
    subprocess.run([os.environ.get("CC", "cc"), "-shared", "-fPIC", source, "-o", library], check=True)
    done = subprocess.run([sys.executable, "-c", LENDS_AND_ENDS, library], capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("2.5 at the end\nlet go\n", 0), done.stderr


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"typestr": "<f8"}, "device array of float64, expected float32: convert it there"),
        ({"typestr": "<f2"}, "device array of float16, expected float32"),
        ({"strides": (4, 4, 24, 120)}, r"strides \(4, 4, 24, 120\) in bytes, expected C order"),
        ({"shape": (6, 5, 7)}, r"shape \(6, 5, 7\), expected \(C, D, H, W\) with C = 1"),
        ({"shape": (2, 6, 5, 7)}, r"got 2 channel\(s\)"),
        ({"shape": (1, 0, 5, 7)}, "empty array"),
        ({"data": (64, False)}, "memory of device -1, expected device 0"),
        ({"mask": 1}, "masked device array"),
    ],
)
def test_arrays_on_the_device_that_do_not_fit(tmp_path, device, fields, message):
    owner, _ = put(device, volume_of(0, 2))
    segmenter = Segmenter(model(tmp_path))
    for volumes in (Lent(owner, **fields), [volume_of(0), Lent(owner, **fields)]):
        with pytest.raises(InputError, match=message):
            segmenter.run(volumes)
    assert device.launches == 0


class NotLent:
    def __dlpack_device__(self):
        return 2, 0

    def __dlpack__(self, stream):
        raise BufferError("it requires a gradient")


def test_a_tensor_that_is_not_lent(tmp_path, device):
    with pytest.raises(InputError, match="got a NotLent that gives no device memory: it requires a gradient"):
        Segmenter(model(tmp_path)).run(NotLent())


def test_axes_of_one_voxel_may_have_any_stride(tmp_path, device):
    owner, stream = put(device, volume_of(0, shape=(1, 5, 7)))
    lent = Lent(owner, stream=stream.handle, strides=(1, 4, 28, 4))
    assert Segmenter(model(tmp_path)).run(lent).shape == (1, 5, 7)


def test_voxels_on_the_device_that_are_not_finite(tmp_path, device):
    volume = volume_of(0, 2)
    volume[1, 0, 0, :4], volume[1, 2, 2, 2] = np.nan, np.inf
    owner, stream = put(device, volume)
    segmenter = Segmenter(model(tmp_path, 2))
    with pytest.raises(InputError, match="channel m1 has 4 NaN and 1 infinite of 210 voxels"):
        segmenter.run(Lent(owner, stream=stream.handle))
    assert segmenter.run(volume_of(1, 2)).shape == SHAPE


def test_a_cpu_takes_no_array_of_a_gpu(tmp_path):
    owner, _ = put(EmulatedDevice(), volume_of(0))
    segmenter = Segmenter(model(tmp_path))
    for volumes in (owner, [volume_of(0), owner], LentByDlpack(owner, None, None)):
        with pytest.raises(InputError, match=r"on a GPU, but the model runs on CPU.*tensor\.cpu\(\)"):
            segmenter.run(volumes)
    with pytest.raises(BackendError, match="no device memory is used"):
        segmenter.device_memory(SHAPE)

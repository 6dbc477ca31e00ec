"""The device pipeline, with its kernels' own sources, on an emulated device, against the host's."""

import contextlib
import ctypes
import gc
import itertools
import tempfile
import threading
from functools import partial
from unittest.mock import patch

import nibabel
import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from msdk_rt import BackendError, InputError, Segmentation, Segmenter
from msdk_rt.backends.libraries import LIBRARIES, VOLUME_LIBRARY_NAME, ops_library
from msdk_rt.backends.volume_kernels import VolumeKernels
from msdk_rt.inference.host import infer_views
from msdk_rt.inference.stages import Stages
from msdk_rt.inference.sums import sums_of
from msdk_rt.inference.windows import blend_windows
from tests.support.emulated_device import EmulatedDevice, EmulatedKernels, EmulatedNetwork, Stream
from tests.support.segmenters_on_device import (
    SHAPE,
    WINDOW,
    Lent,
    check_equal,
    model,
    on_device,
    on_host,
    put,
    volume_of,
)
from tests.support.small_model import describe


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_equals_the_host(data):
    """Two shapes, the first three times: eager, captured, replayed. Streams in a random order."""
    draw = data.draw
    channels, classes, batch_size = draw(st.integers(1, 3)), draw(st.integers(1, 4)), draw(st.integers(1, 3))
    shapes = draw(st.lists(st.tuples(*[st.integers(1, 7)] * 3), min_size=2, max_size=2))
    options = {
        "batch_size": batch_size,
        "overlap": draw(st.sampled_from([0, 0.3, 0.5])),
        "blend": draw(st.sampled_from(["gaussian", "constant"])),
        "mirror_axes": draw(st.sampled_from([(), (), (0,), (2, 1), (0, 1, 2)])),
    }
    folds = draw(st.sampled_from([1, 1, 2, 3]))
    fields = {
        "folds": folds if folds > 1 else None,
        "activation": draw(st.sampled_from(["softmax", "sigmoid"])),
        "normalization": draw(st.sampled_from(["nonzero_zscore", "none"])),
        "labels": {f"class{k}": k * draw(st.sampled_from([1, 300])) + 1 for k in range(classes)},
    }
    seed = draw(st.integers(0, 2**32 - 1))
    volumes = [volume_of(seed + k, channels, shapes[k // 3]) for k in range(4)]
    device = EmulatedDevice(seed)
    with tempfile.TemporaryDirectory() as folder, on_device(device):
        path = model(folder, channels, folds * classes, **fields)
        with Segmenter(path, **options) as segmenter:
            results = segmenter.run(volumes, return_probabilities=True)
            assert segmenter.device_memory(shapes[0]).batch_size == batch_size
        for mine, theirs in zip(results, on_host(path, volumes, **options), strict=True):
            check_equal(mine, theirs, fields["activation"])
    del segmenter
    gc.collect()
    assert device.blocks == {}


@pytest.mark.parametrize("folds", [1, 2, 3])
@pytest.mark.parametrize("sums", [None, "float16"])
def test_blended_logits_are_those_of_the_host_bit_for_bit(sums, folds, tmp_path, device):
    """Without the normalisation every sum has one order."""
    labels = {f"class{k}": k for k in range(3)}
    entries = {"normalization": "none", "sums": sums, "labels": labels, "folds": folds if folds > 1 else None}
    path = model(tmp_path, 2, 3 * folds, **entries)
    segmenter = Segmenter(path, batch_size=3, mirror_axes=(0, 2))
    volume, recipe, pipeline = volume_of(1, 2), segmenter._recipe, segmenter._pipeline()
    labels, _ = pipeline.start(volume).result()
    total = np.empty((3, *SHAPE), np.float32)
    ctypes.memmove(total.ctypes.data, pipeline._workspace["total"], total.nbytes)
    infer = partial(infer_views, segmenter._backend, recipe)
    rest = recipe.starts(SHAPE), recipe.weights(), 3
    expected = blend_windows(volume, WINDOW, infer, *rest, sums=sums_of(sums == "float16", None), folds=folds)
    np.testing.assert_array_equal(total, expected)
    np.testing.assert_array_equal(labels, expected.argmax(0))
    assert (sums == "float16") == bool((total == total.astype(np.float16)).all())


def test_logits_too_large_for_float16_are_an_error(tmp_path, device):
    """The next volume is segmented again."""
    segmenter = Segmenter(model(tmp_path, 1, 2, normalization="none", sums="float16"))
    with pytest.raises(BackendError, match="logits are too large for sums in float16"):
        segmenter.run(1e6 * volume_of(1))
    assert segmenter.run(volume_of(1)).shape == SHAPE


def test_one_graph_for_each_batch_size_of_a_shape(tmp_path, device):
    segmenter = Segmenter(model(tmp_path), batch_size=5)  # 12 windows: 5, 5, 2
    segmenter.run(volume_of(0))
    assert (device.captures, device.launches) == (1, 1)
    segmenter.run(volume_of(1))
    assert (device.captures, device.launches) == (2, 4)
    segmenter.run([volume_of(2), volume_of(3)])
    assert (device.captures, device.launches) == (2, 10)
    segmenter.run(volume_of(4, shape=(4, 3, 6)))
    assert (device.captures, device.launches) == (2, 10)


class Uncapturable(EmulatedNetwork):
    def enqueue(self, image, logits, count):
        if self.stream.captured is not None:
            raise BackendError("this engine cannot be captured")
        super().enqueue(image, logits, count)


class WithoutGraphs(EmulatedNetwork):
    graphs = False


@pytest.mark.parametrize("network", [Uncapturable, WithoutGraphs])
def test_without_graphs(tmp_path, network):
    path, volumes, device = model(tmp_path), [volume_of(k) for k in range(3)], EmulatedDevice(5)
    with on_device(device, network):
        warns = network is Uncapturable
        expected = pytest.warns(RuntimeWarning, match="no CUDA graph could be captured: this engine")
        with expected if warns else contextlib.nullcontext() as caught:
            results = Segmenter(path, batch_size=2).run(volumes, return_probabilities=True)
    assert not warns or len(caught) == 1
    assert device.launches == 0
    for mine, theirs in zip(results, on_host(path, volumes, batch_size=2), strict=True):
        check_equal(mine, theirs)


def poisoned_model(folder, **fields):
    """Its logits are the image, and infinite where that is above 1000."""
    path = model(folder, **fields)
    graph = onnx.load(path)
    del graph.graph.node[:]
    graph.graph.node.extend(
        [
            onnx.helper.make_node("Exp", ["image"], ["large"]),
            onnx.helper.make_node("Concat", ["large", "large"], ["logits"], axis=1),
        ]
    )
    onnx.save(graph, path)
    describe(path, 1, 2, WINDOW, normalization="none", **fields)
    return path


@pytest.mark.parametrize("options", [{}, {"batch_size": 2}, {"batch_size": 5, "mirror_axes": (0, 1)}])
def test_the_network_returns_infinity(tmp_path, device, options):
    path = poisoned_model(tmp_path)
    good = np.random.default_rng(3).random((1, *SHAPE), np.float32)
    bad = good.copy()
    bad[0, 5, 2, 3] = 1001
    with pytest.raises(BackendError, match=r"NaN or Inf in the window\(s\) starting at \(2, ") as host:
        on_host(path, [bad], **options)
    segmenter = Segmenter(path, **options)
    for volumes in ([bad, good], bad, [good, bad]):
        with pytest.raises(BackendError) as caught:
            segmenter.run(volumes)
        assert str(caught.value) == str(host.value)
        np.testing.assert_array_equal(segmenter.run(good), on_host(path, [good], **options)[0].labels)


@pytest.mark.parametrize("speeds", list(itertools.product((0, 30), repeat=3)))
def test_streams_may_be_slow_or_fast(tmp_path, device, speeds):
    """Each of work, uploads and downloads runs at once, or not before somebody waits for it."""
    path, volumes = model(tmp_path, 2), [volume_of(k, 2, (4, 4, 5)) for k in range(3)]
    segmenter, expected = Segmenter(path), on_host(path, volumes)
    pipeline = segmenter._pipeline()
    pipeline.work.speed, pipeline._uploads.speed, pipeline.downloads.speed = speeds
    for _ in range(2):
        results = segmenter.run(volumes, return_probabilities=True)
        for mine, theirs in zip(results, expected, strict=True):
            check_equal(mine, theirs)
    volumes[0][1, 0, 0, 0] = np.nan
    there = [put(device, volume) for volume in volumes]
    for _, stream in there:
        stream.synchronize()
    lent = [Lent(owner) for owner, _ in there]
    with pytest.raises(InputError, match="channel m1 has 1 NaN and 0 infinite of 80 voxels"):
        segmenter.run(lent)
    good = segmenter.run(lent[1:], return_probabilities=True)
    for mine, theirs in zip(good, expected[1:], strict=True):
        check_equal(Segmentation(mine.labels.get(), mine.probabilities.get()), theirs)


@pytest.mark.parametrize("folds", [None, 3])
def test_memory_is_counted_before_it_is_taken(folds, tmp_path):
    labels = {"a": 0, "b": 1, "c": 2}
    path, larger = model(tmp_path, 2, 3 * (folds or 1), labels=labels, folds=folds), (9, 8, 7)
    device = EmulatedDevice()
    with on_device(device):
        segmenter = Segmenter(path, batch_size=4, mirror_axes=(1,))
        for shape in (SHAPE, SHAPE, larger, SHAPE):
            segmenter.run([volume_of(k, 2, shape) for k in range(2)])
            assert sum(device.blocks.values()) == segmenter.device_memory(shape).buffers
        segmenter.run([volume_of(0, 2, shape) for shape in (SHAPE, larger, SHAPE)])
        need = segmenter.device_memory(larger)
        assert (device.peak, need.batch_size, need.network) == (need.buffers, 4, None)
    tight = EmulatedDevice(memory=need.buffers - 1)
    with on_device(tight):
        segmenter = Segmenter(path, batch_size=4, mirror_axes=(1,))
        expected = f"batch_size 4 needs {need.buffers} .* and {need.buffers - 1} are free: it is 3 for this"
        with pytest.warns(RuntimeWarning, match=expected):
            result = segmenter.run(volume_of(0, 2, larger), return_probabilities=True)
    check_equal(result, *on_host(path, [volume_of(0, 2, larger)], batch_size=3, mirror_axes=(1,)))
    full = pytest.raises(BackendError, match=r"needs \d{5} bytes of device memory, and 5000 are free")
    with on_device(EmulatedDevice(memory=5000)), full:
        Segmenter(path, batch_size=4).run(volume_of(0, 2))


@pytest.mark.skipif(
    not (LIBRARIES / VOLUME_LIBRARY_NAME).is_file(), reason="built where there is no CUDA compiler"
)
def test_the_library_that_is_shipped_has_every_kernel(tmp_path):
    """It loads where there is no GPU; one without the kernels is told from it."""
    assert VolumeKernels().normalize_workspace(2, 100) == 2 * 2 * 16
    for path in (ops_library(), tmp_path / "absent.so"):
        with pytest.raises(BackendError, match=r"does not load .*reinstall msdk_rt"):
            VolumeKernels(path)


def test_a_driver_that_is_too_old_is_told_at_once(monkeypatch):
    monkeypatch.setenv("CUDA_EMULATOR_DRIVER", "12060")
    with pytest.raises(BackendError, match=r"runs CUDA up to 12\.6, .* compiled by CUDA 13\.0: update the"):
        EmulatedKernels(EmulatedDevice())
    monkeypatch.setenv("CUDA_EMULATOR_DRIVER", "13010")
    EmulatedKernels(EmulatedDevice())


class GarbageWhileItRuns(EmulatedNetwork):
    """Its thread collects garbage while it captures, device memory among it."""

    def enqueue(self, image, logits, count):
        if self.stream.device.capturing:
            self.garbage = None
            gc.collect()
        else:
            self.garbage = [self.stream.device.DeviceMemory(4)]
            self.garbage.append(self.garbage)
        super().enqueue(image, logits, count)


def test_garbage_of_device_memory_leaves_a_capture_whole(tmp_path):
    path, device = model(tmp_path), EmulatedDevice(5)
    with on_device(device, GarbageWhileItRuns):
        segmenter = Segmenter(path)
        for seed in range(3):
            segmenter.run(volume_of(seed))
    assert device.captures == 1


class OnOneStream(EmulatedNetwork):
    """As ONNX Runtime's sessions are: every thread's work on one stream, and no graphs."""

    graphs = False

    def stream_of(self, device):
        with device.lock:
            device.shared = getattr(device, "shared", None) or device.Stream()
        return device.shared


@pytest.mark.parametrize("network", [EmulatedNetwork, OnOneStream])
def test_several_threads(tmp_path, network):
    path = model(tmp_path, 1, 3)
    segmenter = Segmenter(path, batch_size=2, threads=1)
    volumes = [volume_of(k, shape=(4 + k, 5, 6)) for k in range(4)]
    together = [None] * len(volumes)

    def work(index):
        together[index] = segmenter.run([volumes[index]] * 2, return_probabilities=True)[1]

    threads = [threading.Thread(target=work, args=(index,)) for index in range(len(volumes))]
    with on_device(EmulatedDevice(), network):
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for mine, theirs in zip(together, on_host(path, volumes, batch_size=2), strict=True):
        check_equal(mine, theirs)


def test_files_progress_and_stages(tmp_path, device, capsys):
    path, volume = model(tmp_path), volume_of(2)
    nibabel.save(nibabel.Nifti1Image(volume[0], np.eye(4)), tmp_path / "scan.nii.gz")
    segmenter, (expected,) = Segmenter(path), on_host(path, [volume])
    result = segmenter.run([[tmp_path / "scan.nii.gz"]] * 2, return_probabilities=True, progress=True)[1]
    check_equal(result, expected)
    result.save(tmp_path / "labels.nii.gz")
    assert "segment" in capsys.readouterr().err
    stages = Stages()
    segmenter._segment(volume, stages=stages)
    assert list(stages.seconds) == ["upload", "normalise", "windows", "label", "download"]


def test_the_next_volume_is_started_before_the_last_is_waited_for(tmp_path, device):
    segmenter, calls = Segmenter(model(tmp_path)), []
    pipeline = segmenter._pipeline()
    start = pipeline.start

    def watched_start(volume, *arguments, **options):
        number = len([call for call in calls if call[0] == "start"])
        calls.append(("start", number))
        pending = start(volume, *arguments, **options)
        result = pending.result

        def watched_result():
            calls.append(("result", number))
            return result()

        pending.result = watched_result
        return pending

    with patch.object(pipeline, "start", watched_start):
        segmenter.run([volume_of(k) for k in range(3)])
    assert calls == [
        ("start", 0), ("start", 1), ("result", 0), ("start", 2), ("result", 1), ("result", 2),
    ]  # fmt: skip


@pytest.mark.parametrize("missing", ["wait", "synchronize"])
def test_an_order_that_is_not_kept_would_show(tmp_path, missing):
    """Streams that forget their waits, or events that do: some order of the work gives another result."""
    path, volumes = model(tmp_path), [volume_of(k) for k in range(4)]
    expected = on_host(path, volumes)
    target = Stream if missing == "wait" else EmulatedDevice().Event().__class__
    wrong = 0
    for seed in range(6):
        with on_device(EmulatedDevice(seed)), patch.object(target, missing, lambda *arguments: None):
            try:
                results = Segmenter(path).run(volumes, return_probabilities=True)
                wrong += any(
                    not np.allclose(mine.probabilities, theirs.probabilities, atol=1e-3)
                    for mine, theirs in zip(results, expected, strict=True)
                )
            except (BackendError, InputError):
                wrong += 1
    print(f"{wrong} of 6 orders")
    assert wrong > 0

"""Engines: each reason why one cannot run here is a sentence, told before TensorRT reads the file."""

import sys

import pytest

from msdk_rt import Segmenter
from msdk_rt.artifact.engine_entry import check_device, check_library, release_of
from msdk_rt.artifact.manifest import read_manifest, write_manifest
from msdk_rt.commands.main import main
from msdk_rt.errors import ArtifactError, BackendError, InputError
from tests.support.small_model import ENGINE, describe


def engine_file(folder, name="model.engine", **entry):
    path = folder / name
    path.write_bytes(b"a plan")
    write_manifest(path, describe(path, engine=ENGINE | entry))
    return path


@pytest.mark.parametrize(
    ("changed", "here", "said"),
    [
        ({}, "10.13.2.7", "needs TensorRT exactly 10.13.2.6, this is 10.13.2.7"),
        ({}, "11.4.0.106", "needs TensorRT exactly 10.13.2.6, this is 11.4.0.106"),
        ({"version_compatible": True}, "10.9.0", "needs TensorRT 10.x from 10.13.2.6 on, this is 10.9.0"),
        ({"version_compatible": True}, "11.0.0", "needs TensorRT 10.x from 10.13.2.6 on, this is 11.0.0"),
        ({"plugin_version": "2"}, "10.13.2.6", "needs version 2 of the msdk plugins, this msdk_rt has 1"),
    ],
)
def test_another_tensorrt_is_refused(changed, here, said):
    with pytest.raises(BackendError, match=said):
        check_library(ENGINE | changed, here)


@pytest.mark.parametrize(
    ("changed", "here", "said"),
    [
        ({}, "8.6", "compute capability 8.9, this one has 8.6"),
        ({}, "12.0", "compute capability 8.9, this one has 12.0"),
        ({"hardware_compatible": True}, "7.5", "compute capability 8.0 or above, this one has 7.5"),
    ],
)
def test_another_gpu_is_refused(changed, here, said):
    with pytest.raises(BackendError, match=said):
        check_device(ENGINE | changed, here)


@pytest.mark.parametrize(
    ("stated", "release"),
    [("10.14.1.48.post1", "10.14.1.48"), ("11.4.0.106", "11.4.0.106"), ("10.3.0+cu12", "10.3.0"), ("8", "8")],
)
def test_a_wheels_version_is_read(stated, release):
    assert release_of(stated) == release
    check_library(ENGINE | {"tensorrt": release}, stated)


@pytest.mark.parametrize("stated", ["", "unknown", "v10.3"])
def test_a_version_that_is_none_is_told(stated):
    with pytest.raises(BackendError, match=r"expected numbers such as 10\.14\.1\.48"):
        check_library(ENGINE, stated)


def test_what_fits_is_taken():
    check_library(ENGINE, "10.13.2.6")
    check_library(ENGINE | {"version_compatible": True}, "10.14.1")
    check_device(ENGINE, "8.9")
    check_device(ENGINE | {"hardware_compatible": True}, "12.0")


def test_the_manifest_carries_the_entry_and_checks_it(tmp_path, capsys):
    path = engine_file(tmp_path)
    assert read_manifest(path).engine == ENGINE
    assert main(["info", str(path)]) == 0
    assert "tensorrt 10.13.2.6, compute capability 8.9" in capsys.readouterr().out
    for wrong in ({"max_batch": 0}, {"tensorrt": "ten"}, {"version_compatible": 1}, {"extra": 1}):
        with pytest.raises(ArtifactError, match="engine must be null, or"):
            engine_file(tmp_path, **wrong)


def test_a_machine_without_tensorrt_is_told_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    monkeypatch.delitem(sys.modules, "msdk_rt.backends.tensorrt", raising=False)
    with pytest.raises(BackendError, match=r"pip install tensorrt, or on a Jetson .*model.onnx"):
        Segmenter(engine_file(tmp_path))


def test_options_of_onnx_runtime_are_refused(tmp_path):
    path = engine_file(tmp_path)
    with pytest.raises(InputError, match=r"providers is for a \.onnx"):
        Segmenter(path, providers=["CUDAExecutionProvider"])
    with pytest.raises(InputError, match=r"threads is for a \.onnx"):
        Segmenter(path, threads=2)


# TensorRT's lean runtime is real and has the runtime's part of the interface, so that it can stand here until
# something wants a GPU.
@pytest.fixture
def lean(monkeypatch):
    trt = pytest.importorskip("tensorrt_lean_bindings")
    monkeypatch.setitem(sys.modules, "tensorrt", trt)
    monkeypatch.delitem(sys.modules, "msdk_rt.backends.tensorrt", raising=False)
    yield trt
    sys.modules.pop("msdk_rt.backends.tensorrt", None)


def test_checks_come_in_the_order_of_what_can_be_known(lean, tmp_path):
    path = engine_file(tmp_path)
    with pytest.raises(
        InputError, match="batch_size must be at most 2, for which the engine was built, got 3"
    ):
        Segmenter(path, batch_size=3)
    with pytest.raises(BackendError, match=f"exactly 10.13.2.6, this is {lean.__version__}"):
        Segmenter(path)
    with pytest.raises(BackendError, match=r"CUDA says cudaError|compute capability 0.1, this one has"):
        Segmenter(engine_file(tmp_path, tensorrt=lean.__version__, compute_capability="0.1"))


def test_a_renamed_file_is_refused(lean, tmp_path):
    with pytest.raises(ArtifactError, match=r"the file's suffix is '\.onnx': it was renamed"):
        Segmenter(engine_file(tmp_path, "model.onnx"))

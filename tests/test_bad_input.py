"""Bad input through the command line: exit code 1, one line that says what is wrong, nothing written."""

import json
import os
import resource
import subprocess
import sys

import nibabel
import numpy as np
import onnx
import pytest

import msdk_rt.backends.libraries
from msdk_rt.artifact.manifest import manifest_path
from msdk_rt.backends.onnxruntime import OnnxRuntimeBackend
from msdk_rt.commands.main import main
from tests.support.small_model import describe, write_artifact

SHAPE = (9, 10, 11)
AFFINE = np.diag([1.0, 1.0, 2.0, 1.0])


def scan(seed=0, shape=SHAPE, dtype=np.float32):
    return np.random.default_rng(seed).gamma(2, 100, shape).astype(dtype)


def write(path, array, affine=AFFINE):
    nibabel.save(nibabel.Nifti1Image(array, affine), path)


@pytest.fixture
def case(tmp_path):
    """A folder of model.onnx with channels m0 and m1, and a file for each."""
    write_artifact(tmp_path / "model.onnx", channels=2)
    for index in (0, 1):
        write(tmp_path / f"{index}.nii", scan(index))
    return tmp_path


def command(case):
    inputs = sorted(str(path) for path in case.glob("[0-9].nii"))
    return ["run", str(case / "model.onnx"), *inputs, "-o", str(case / "out"), "--quiet", "--probabilities"]


def assert_refused(case, exit_code, error, message):
    assert exit_code == 1
    assert message in error
    assert error.startswith("msdk-rt: ")
    assert error.count("\n") == 1
    assert not (case / "out").exists() or os.listdir(case / "out") == []


def with_nan_and_inf(path):
    array = scan()
    array[0, 0, :3], array[8, 9, 10] = np.nan, -np.inf
    write(path, array)


def without_voxels(path):
    header = nibabel.load(path).header
    header["dim"][2] = 0
    path.write_bytes(header.binaryblock + path.read_bytes()[348:])


VOLUMES = {
    "rank 2": (lambda path: write(path, scan(shape=(9, 10))), "shape (9, 10), expected one 3D volume"),
    "rank 4": (lambda path: write(path, scan(shape=(9, 10, 11, 2))), "shape (9, 10, 11, 2), expected one 3D"),
    "channels": (lambda path: path.unlink(), "got 1 file(s), the model takes 2 per case (m0, m1)"),
    "dtype": (
        lambda path: write(path, scan(dtype=np.complex64)),
        "holds complex64 voxels, expected integers",
    ),
    "empty": (without_voxels, "shape (9, 0, 11): it holds no voxels"),
    "NaN and Inf": (with_nan_and_inf, "channel m1 has 3 NaN and 1 infinite of 990 voxels"),
    "shape": (lambda path: write(path, scan(shape=(9, 10, 12))), "has shape (9, 10, 12), and"),
    "affine": (lambda path: write(path, scan(), AFFINE + np.eye(4, k=3)), "lies up to 1 mm away from"),
    "truncated": (lambda path: path.write_bytes(path.read_bytes()[:-99]), "1.nii, is it truncated?"),
}


@pytest.mark.parametrize(("damage", "message"), VOLUMES.values(), ids=VOLUMES)
def test_volume(case, capsys, monkeypatch, damage, message):
    monkeypatch.setattr(OnnxRuntimeBackend, "infer", lambda *windows: pytest.fail("inference ran"))
    damage(case / "1.nii")
    assert_refused(case, main(command(case)), capsys.readouterr().err, message)


def edit(manifest, **changes):
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | changes))


def foreign(model):
    """An ONNX file of somebody else, with a manifest somebody made for it."""
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Relu", ["input"], ["output"])],
        "classifier",
        [onnx.helper.make_tensor_value_info("input", onnx.TensorProto.FLOAT, [1, 3, 224, 224])],
        [onnx.helper.make_tensor_value_info("output", onnx.TensorProto.FLOAT, [1, 3, 224, 224])],
    )
    onnx.save(onnx.helper.make_model(graph, ir_version=10), model)
    describe(model, channels=2)


def without_manifest(model):
    manifest_path(model).unlink()


MODELS = {
    "missing": (lambda model: model.unlink(), "model.onnx: expected a file written by msdk_rt.export"),
    "without manifest": (without_manifest, "keep the two files together"),
    "truncated": (lambda model: model.write_bytes(model.read_bytes()[:-9]), "It was truncated or edited"),
    "edited": (lambda model: model.write_bytes(model.read_bytes()[:-1] + b"\1"), "expected SHA-256"),
    "foreign": (foreign, "has input input tensor(float) [1, 3, 224, 224], expected image tensor(float)"),
    "foreign bytes": (
        lambda model: model.write_bytes(b"\x89PNG\r\n" * 99) and describe(model, channels=2),
        "model.onnx is not an ONNX file",
    ),
    "edited labels": (
        lambda model: edit(manifest_path(model), labels={"class0": 1, "class1": 0}),
        "model.onnx.json was edited",
    ),
    "edited window": (lambda model: edit(manifest_path(model), window=[8, 6]), "window must be three whole"),
    "newer": (
        lambda model: edit(manifest_path(model), format_version=9),
        "has manifest format 9, this msdk_rt reads up to 2: upgrade msdk_rt",
    ),
}


@pytest.mark.parametrize(("damage", "message"), MODELS.values(), ids=MODELS)
def test_model(case, capsys, damage, message):
    damage(case / "model.onnx")
    assert_refused(case, main(command(case)), capsys.readouterr().err, message)
    assert not (case / "out").exists()


def test_missing_op_library(case, capsys, monkeypatch):
    monkeypatch.setattr(msdk_rt.backends.libraries, "LIBRARY_NAME", "libabsent.so")
    assert_refused(case, main(command(case)), capsys.readouterr().err, "libabsent.so is missing")


def test_full_disk(case):
    """A limit on the size of files stands in for a full disk: 4 kB hold no map of probabilities."""
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from msdk_rt.commands.main import main; raise SystemExit(main())",
            *command(case),
        ],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)),
    )
    assert_refused(case, done.returncode, done.stderr, "choose a writable folder with enough space")


@pytest.mark.parametrize(
    "array",
    [
        scan(shape=(1, 10, 11)),
        scan(shape=(9, 10, 1)),
        scan(shape=(1, 1, 1)),
        np.zeros(SHAPE, np.float32),
        np.zeros(SHAPE, np.uint8),
    ],
    ids=["one sagittal slice", "one axial slice", "one voxel", "all zero", "all zero bytes"],
)
def test_odd_volumes_that_are_fine(case, array):
    for index in (0, 1):
        write(case / f"{index}.nii", array)
    assert main(command(case)) == 0
    assert nibabel.load(case / "out" / "0.nii.gz").shape == array.shape
    assert np.isfinite(nibabel.load(case / "out" / "0_probabilities.nii.gz").get_fdata()).all()


def test_scaled_integers_are_their_real_values(case):
    """int16 with slope and intercept in the header, as scanners write, against the same values as float32."""
    stored = (scan() * 10).astype(np.int16)
    image = nibabel.Nifti1Image(stored, AFFINE)
    image.header.set_slope_inter(0.25, -5)
    nibabel.save(image, case / "0.nii")
    np.testing.assert_array_equal(nibabel.load(case / "0.nii").get_fdata(), stored * 0.25 - 5)
    assert main(command(case)) == 0
    labels = nibabel.load(case / "out" / "0.nii.gz").get_fdata()
    assert set(np.unique(labels)) == {0, 1}

    write(case / "0.nii", (stored * 0.25 - 5).astype(np.float32))
    assert main([*command(case), "--overwrite"]) == 0
    np.testing.assert_array_equal(nibabel.load(case / "out" / "0.nii.gz").get_fdata(), labels)

"""Folders and files that this user may not enter, read or write: one sentence each, nothing left behind."""

import os
import shutil
import subprocess
import sys

import nibabel
import numpy as np
import pytest

from tests.support.small_model import write_artifact

# Root may do everything, unless it gives those rights up.
AS_A_USER = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
CODE = """
import sys
import msdk_rt, msdk_rt.artifact.files, msdk_rt.artifact.manifest, msdk_rt.imaging.volumes
path, other = sys.argv[2:]
try:
    eval(sys.argv[1])
except msdk_rt.MsdkError as error:
    print(f"{type(error).__name__}: {error}")
"""
CALLS = {
    "a model": ("msdk_rt.Segmenter(path)", "ArtifactError: cannot read"),
    "a manifest": ("msdk_rt.artifact.manifest.read_manifest(path)", "ArtifactError: cannot read"),
    "an image": ("msdk_rt.imaging.volumes.read_volume([path])", "InputError: cannot read"),
    "one of two": ("msdk_rt.imaging.volumes.read_volume([other, path])", "InputError: cannot read"),
    "an image for a Segmenter": ("msdk_rt.Segmenter(other).run(path)", "InputError: cannot read"),
    "a benchmark": ("msdk_rt.benchmark(path)", "ArtifactError: cannot read"),
    "a result": (
        "msdk_rt.artifact.files.atomic_write(path, 'w').__enter__()",
        "OutputError: cannot write",
    ),
}


@pytest.fixture
def locked(tmp_path):
    """A folder with a model and a scan that can be locked, and unlocked at the end."""
    folder = tmp_path / "locked"
    folder.mkdir()
    for place in (tmp_path, folder):
        write_artifact(place / "model.onnx")
        nibabel.save(nibabel.Nifti1Image(np.ones((5, 6, 7), np.float32), np.eye(4)), place / "scan.nii")
    yield folder
    folder.chmod(0o700)


def as_a_user(*command):
    if AS_A_USER and shutil.which(AS_A_USER[0]) is None:
        pytest.skip("root needs setpriv to give up its rights: install util-linux")
    return subprocess.run([*AS_A_USER, *command], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("mode", [0o000, 0o600])
@pytest.mark.parametrize(("call", "message"), CALLS.values(), ids=CALLS)
def test_a_locked_folder(locked, mode, call, message):
    name = "model.onnx" if "Segmenter(path" in call or "manifest" in call or "bench" in call else "scan.nii"
    other = locked.parent / ("scan.nii" if "other, path" in call else "model.onnx")
    locked.chmod(mode)
    done = as_a_user(sys.executable, "-c", CODE, call, locked / name, other)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(message)
    assert "Permission denied" in done.stdout


@pytest.mark.parametrize("name", ["model.onnx", "model.onnx.json", "scan.nii"])
def test_a_locked_file(locked, name):
    (locked / name).chmod(0o000)
    call = "msdk_rt.Segmenter(path).run(other)"
    done = as_a_user(sys.executable, "-c", CODE, call, locked / "model.onnx", locked / "scan.nii")
    assert done.returncode == 0, done.stderr
    assert "Error: cannot read" in done.stdout
    assert "Permission denied" in done.stdout


COMMANDS = {
    "the model": ["run", "{locked}/model.onnx", "{open}/scan.nii", "-o", "{open}/out.nii"],
    "the scan": ["run", "{open}/model.onnx", "{locked}/scan.nii", "-o", "{open}/out.nii"],
    "the scans": ["run", "{open}/model.onnx", "{locked}", "-o", "{open}/out"],
    "the output": ["run", "{open}/model.onnx", "{open}/scan.nii", "-o", "{locked}/out.nii"],
    "the output's folder": ["run", "{open}/model.onnx", "{open}/scan.nii", "-o", "{locked}/out/deeper"],
    "info": ["info", "{locked}/model.onnx"],
    "bench": ["bench", "{locked}/model.onnx"],
}


@pytest.mark.parametrize("arguments", COMMANDS.values(), ids=COMMANDS)
def test_a_command_says_it_in_a_line(locked, arguments):
    locked.chmod(0o000)
    code = "from msdk_rt.commands.main import main; raise SystemExit(main())"
    arguments = [argument.format(locked=locked, open=locked.parent) for argument in arguments]
    done = as_a_user(sys.executable, "-c", code, *arguments)
    assert done.returncode == 1
    assert done.stderr.startswith("msdk-rt: ")
    assert done.stderr.count("\n") == 1
    assert "Permission denied" in done.stderr
    assert not list(locked.parent.glob("out*"))

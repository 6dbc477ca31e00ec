"""Commands on other terminals than a UTF-8 screen: one that lacks letters, a file, a pipe."""

import json
import os
import subprocess
import sys

import nibabel
import numpy as np
import pytest

from tests.support.small_model import write_artifact
from tests.support.terminal import OnTerminal

MAIN = [sys.executable, "-c", "from msdk_rt.commands.main import main; raise SystemExit(main())"]
LABELS = {"Hintergrund": 0, "Läsion": 1, "病变": 2, "опухоль": 3, "α-Stelle": 4, "🧠": 5}


@pytest.fixture
def folder(tmp_path):
    write_artifact(tmp_path / "model.onnx", classes=len(LABELS), labels=LABELS, channels=1)
    voxels = np.random.default_rng(0).gamma(2, 100, (9, 8, 7)).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), tmp_path / "Kopf–1.nii")
    return tmp_path


def run(folder, *arguments, **environment):
    return subprocess.run(
        [*MAIN, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        encoding="latin-1",
        env=os.environ | environment,
    )


@pytest.mark.parametrize(
    "encoding",
    ["ascii", "latin-1", "cp1252", "koi8-r", "ascii:strict", "utf-8"],
)
def test_every_name_is_printed_on_every_terminal(folder, encoding):
    environment = {"PYTHONIOENCODING": encoding}
    told = run(folder, "info", "model.onnx", **environment)
    assert told.returncode == 0, told.stderr
    assert "Hintergrund = 0" in told.stdout
    ended = run(folder, "run", "model.onnx", "Kopf–1.nii", "-o", "Läsionen–1.nii", "--json", **environment)
    assert ended.returncode == 0, ended.stderr
    assert set(json.loads(ended.stdout)["cases"][0]["labels"]) == set(LABELS)
    assert (folder / "Läsionen–1.nii").exists()
    missing = run(folder, "run", "model.onnx", "fehlt–病.nii", "-o", "x.nii", **environment)
    assert missing.returncode == 1
    assert missing.stderr.startswith("msdk-rt: no file at fehlt")
    assert missing.stderr.count("\n") == 1


def test_labels_are_printed_in_the_c_locale(folder):
    told = run(folder, "info", "model.onnx", LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    assert told.returncode == 0, told.stderr
    assert "Hintergrund = 0, L\\xe4sion = 1" in told.stdout


@pytest.mark.parametrize("command", ["export", "run", "bids", "bench", "info", "train", "demo"])
def test_help_is_printed_in_ascii(folder, command):
    told = run(folder, command, "--help", PYTHONIOENCODING="ascii:strict")
    assert told.returncode == 0, told.stderr
    assert told.stdout.startswith("usage:")


def test_no_bar_goes_into_a_file(folder):
    ended = run(folder, "run", "model.onnx", "Kopf–1.nii", "-o", "out.nii")
    assert ended.returncode == 0
    assert ended.stderr.count("\n") == 1
    assert "\r" not in ended.stderr
    assert "window" not in ended.stderr


def test_a_terminal_has_a_bar_unless_it_is_to_be_quiet(folder):
    assert "window/s" in on_a_terminal(folder, "run", "model.onnx", "Kopf–1.nii", "-o", "out.nii")
    quiet = on_a_terminal(folder, "run", "model.onnx", "Kopf–1.nii", "-o", "other.nii", "--quiet")
    assert "window/s" not in quiet
    assert "other.nii" in quiet


def on_a_terminal(folder, *arguments):
    """What a command shows on stderr."""
    running = OnTerminal([*MAIN, *arguments], cwd=folder)
    assert running.ended() == 0
    return running.shown

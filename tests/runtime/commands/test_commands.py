"""msdk-rt from the outside: what it writes, prints, and returns."""

import json
import os
import signal
import subprocess
import sys
import time

import nibabel
import numpy as np
import pytest

import msdk_rt
from msdk_rt.backends.onnxruntime import OnnxRuntimeBackend
from msdk_rt.commands.main import main
from msdk_rt.segmenter import Segmenter
from tests.support.small_model import write_artifact
from tests.support.terminal import OnTerminal

SHAPE = (9, 10, 11)


def write_scan(path, seed=0):
    array = np.random.default_rng(seed).gamma(2, 100, SHAPE).astype(np.float32)
    path.parent.mkdir(exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array, np.diag([1, 1, 2, 1])), path)
    return path


@pytest.fixture
def scan(tmp_path):
    return write_scan(tmp_path / "scans" / "a.nii.gz")


def images_in(folder):
    return sorted(path.name for path in folder.glob("*.nii.gz"))


def run(*arguments):
    return main(["run", *map(str, arguments)])


def test_one_file(artifact, scan, tmp_path, capsys):
    out = tmp_path / "labels.nii"
    assert run(artifact, scan, "-o", out, "--overlap", 0.25, "--mirror", 0, 1, "--threads", 1, "--quiet") == 0
    image = nibabel.load(out)
    assert image.shape == SHAPE
    assert image.get_data_dtype() == np.uint8
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"msdk-rt: a: {out}, ")


def test_the_package_is_the_command():
    done = subprocess.run([sys.executable, "-m", "msdk_rt", "--version"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"msdk-rt {msdk_rt.__version__}\n")


def test_json_report(artifact, scan, tmp_path, capsys):
    assert run(artifact, scan, "-o", tmp_path / "out", "--json", "--probabilities") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["providers"][-1] == "CPUExecutionProvider"
    (case,) = report["cases"]
    assert case["output"] == str(tmp_path / "out" / "a.nii.gz")
    assert case["shape"] == list(SHAPE)
    assert sum(label["voxels"] for label in case["labels"].values()) == np.prod(SHAPE)
    assert sum(label["ml"] for label in case["labels"].values()) == pytest.approx(np.prod(SHAPE) * 2 / 1000)
    assert nibabel.load(case["probabilities"]).shape == (*SHAPE, 2)
    written = ["a.nii.gz", "a.nii.gz.json", "a_probabilities.nii.gz", "qc", "qc.html", "report.json"]
    assert sorted(os.listdir(tmp_path / "out")) == [*written, "volumes.tsv"]
    assert json.loads((tmp_path / "out" / "report.json").read_text()) == report


def test_a_folder_is_taken_up_where_it_stopped(artifact, scan, tmp_path, capsys):
    write_scan(scan.parent / "b.nii", 1)
    out = tmp_path / "out"
    assert run(artifact, scan, "-o", out, "--quiet") == 0
    written = (out / "a.nii.gz").stat().st_mtime_ns
    assert run(artifact, scan.parent, "-o", out, "--quiet", "--json") == 0
    assert [case.get("kept") for case in json.loads(capsys.readouterr().out)["cases"]] == [True, None]
    assert (out / "a.nii.gz").stat().st_mtime_ns == written
    assert images_in(out) == ["a.nii.gz", "b.nii.gz"]
    assert run(artifact, scan.parent, "-o", out, "--quiet", "--overwrite") == 0
    assert (out / "a.nii.gz").stat().st_mtime_ns > written


def cut(path):
    path.write_bytes(path.read_bytes()[:-9])


def moved(path):
    image = nibabel.load(path)
    nibabel.save(nibabel.Nifti1Image(image.get_fdata(), image.affine + np.eye(4, k=3)), path)


@pytest.mark.parametrize(
    ("damage", "name", "why"),
    [
        (cut, "a.nii.gz", "a.nii.gz, is it truncated?"),
        (cut, "a_probabilities.nii.gz", "a_probabilities.nii.gz, is it truncated?"),
        (moved, "a.nii.gz", "lies up to 1 mm away"),
        (lambda path: path.write_bytes(b""), "a.nii.gz", "cannot read"),
        (write_scan, "a_probabilities.nii.gz", "expected 2 volume(s)"),
        (os.remove, "a_probabilities.nii.gz", "is missing"),
    ],
)
def test_a_result_is_kept_only_when_it_is_one(artifact, scan, tmp_path, capsys, damage, name, why):
    out = tmp_path / "out"
    assert run(artifact, scan, "-o", out, "--quiet", "--probabilities") == 0
    whole = {path.name: path.read_bytes() for path in out.glob("*.nii.gz")}
    damage(out / name)
    capsys.readouterr()
    assert run(artifact, scan, "-o", out, "--quiet", "--probabilities") == 0
    error = capsys.readouterr().err
    assert error.startswith("msdk-rt: a: segmented again, since ")
    assert why in error
    assert {path.name: path.read_bytes() for path in out.glob("*.nii.gz")} == whole


def test_overwriting_leaves_no_probabilities_of_an_earlier_run(artifact, scan, tmp_path):
    out = tmp_path / "out"
    assert run(artifact, scan, "-o", out, "--quiet", "--probabilities") == 0
    assert run(artifact, scan, "-o", out, "--quiet") == 0
    assert images_in(out) == ["a.nii.gz", "a_probabilities.nii.gz"]
    assert run(artifact, scan, "-o", out, "--quiet", "--overwrite") == 0
    assert images_in(out) == ["a.nii.gz"]


def test_several_channels(tmp_path, capsys):
    path = write_artifact(tmp_path / "model.onnx", channels=2)
    files = [write_scan(tmp_path / "scans" / f"{case}_000{c}.nii.gz", c) for case in "xy" for c in (0, 1)]
    assert run(path, tmp_path / "scans", "-o", tmp_path / "out", "--quiet") == 0
    assert images_in(tmp_path / "out") == ["x.nii.gz", "y.nii.gz"]
    assert run(path, *files[:2], "-o", tmp_path / "x.nii.gz", "--quiet") == 0
    assert (tmp_path / "x.nii.gz").read_bytes() == (tmp_path / "out" / "x.nii.gz").read_bytes()

    capsys.readouterr()
    files[1].unlink()
    assert run(path, tmp_path / "scans", "-o", tmp_path / "out") == 1
    assert "x_0000.nii.gz is of case x, which lacks the channel m1 (_0001)" in capsys.readouterr().err
    files[0].rename(tmp_path / "scans" / "x.nii.gz")
    assert run(path, tmp_path / "scans", "-o", tmp_path / "out") == 1
    assert "such as x_0000.nii.gz for m0" in capsys.readouterr().err
    assert run(path, *files[2:], files[2], "-o", tmp_path / "out") == 1
    assert "the model takes 2 per case (m0, m1)" in capsys.readouterr().err


def test_one_wrong_case_does_not_stop_the_others(artifact, scan, tmp_path, capsys):
    (scan.parent / "0_truncated.nii.gz").write_bytes(scan.read_bytes()[:200])
    out = tmp_path / "out"
    assert run(artifact, scan.parent, "-o", out, "--quiet", "--json") == 1
    captured = capsys.readouterr()
    broken, good = json.loads(captured.out)["cases"]
    assert "truncated" in broken["error"]
    assert good["seconds"] > 0
    assert "msdk-rt: 0_truncated: cannot read" in captured.err
    assert images_in(out) == ["a.nii.gz"]


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("scans/a.nii.gz", "would replace an input"),
        ("scans", "would replace an input"),
        ("model.onnx", "is a file, expected a folder"),
        ("folder.nii.gz", "is a folder: give a file name"),
        ("model.onnx/deeper/out", "cannot write into"),
        ("model.onnx/labels.nii.gz", "cannot write into"),
    ],
)
def test_outputs_refused_before_the_work(artifact, scan, tmp_path, capsys, monkeypatch, output, message):
    (tmp_path / "folder.nii.gz").mkdir()
    before = scan.read_bytes()
    monkeypatch.setattr(OnnxRuntimeBackend, "infer", lambda *windows: pytest.fail("inference ran"))
    assert run(artifact, scan, "-o", tmp_path / output) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert scan.read_bytes() == before


def test_several_cases_need_a_folder_and_names_of_their_own(artifact, scan, tmp_path, capsys):
    twin = write_scan(tmp_path / "twins" / "a.nii.gz")
    assert run(artifact, scan, twin, "-o", tmp_path / "out.nii.gz") == 1
    assert "is one file for 2 cases" in capsys.readouterr().err
    assert run(artifact, scan, twin, "-o", tmp_path / "out") == 1
    assert "would both be" in capsys.readouterr().err
    empty = tmp_path / "empty"
    empty.mkdir()
    assert run(artifact, empty, "-o", tmp_path / "out") == 1
    assert "holds no .nii" in capsys.readouterr().err


def test_errors_are_one_line_and_exit_code_1(artifact, scan, tmp_path, capsys):
    for arguments, message in [
        ([tmp_path / "none.onnx", scan, "-o", tmp_path / "o"], "no model at"),
        ([artifact, scan, "-o", tmp_path / "o", "--overlap", 2], "overlap must be"),
        ([artifact, scan, "-o", tmp_path / "o", "--provider", "HalProvider"], "HalProvider is not in this"),
        ([artifact, tmp_path / "none.nii.gz", "-o", tmp_path / "o"], "no file at"),
    ]:
        assert run(*arguments) == 1
        error = capsys.readouterr().err
        assert error.startswith("msdk-rt: ")
        assert message in error
        assert error.count("\n") == 1
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["fly"],
        ["run"],
        ["run", "model.onnx", "a.nii.gz"],
        ["export", "a.pt", "b.onnx", "--labels", "edema"],
        ["export", "a.pt", "b.onnx", "--window", "1", "2"],
        ["export", "a.pt", "b.onnx", "--config", "[1]"],
    ],
)
def test_wrong_usage_is_exit_code_2(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: msdk-rt" in capsys.readouterr().err


@pytest.mark.parametrize("command", [[], ["export"], ["run"], ["bids"], ["info"], ["demo"]])
def test_help_teaches(command, capsys):
    with pytest.raises(SystemExit) as caught:
        main([*command, "--help"])
    assert caught.value.code == 0
    assert ("examples:" in capsys.readouterr().out) == bool(command)


def test_info(artifact, capsys):
    assert main(["info", str(artifact)]) == 0
    text = capsys.readouterr().out
    assert "class0 = 0, class1 = 1" in text
    assert "8 x 6 x 7 voxels, axes RAS" in text
    assert main(["info", str(artifact), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["window"] == [8, 6, 7]


@pytest.mark.parametrize(
    ("names", "folds", "words"),
    [
        ([0, "all"], 2, "folds             0, all; averaged once the windows of each are added up\n"),
        (
            [0, 1],
            None,
            "folds             0, 1; averaged window by window: export again to average as nnU-Net",
        ),
        ([3], None, "folds             3\n"),
    ],
)
def test_info_says_where_folds_are_averaged(names, folds, words, tmp_path, capsys):
    """Those of an older artifact in its graph."""
    config = {"config": {"folds": names}, "labels": {"a": 0, "b": 1}}
    path = write_artifact(tmp_path / "model.onnx", classes=2 * (folds or 1), folds=folds, **config)
    assert main(["info", str(path)]) == 0
    assert words in capsys.readouterr().out


def test_export_forwards_what_it_is_given(tmp_path, capsys):
    arguments = ["--window", "16", "16", "16", "--channels", "t1", "--labels", "a=0", "b=1"]
    assert main(["export", str(tmp_path / "none.safetensors"), str(tmp_path / "m.onnx"), *arguments]) == 1
    assert "none.safetensors" in capsys.readouterr().err
    assert main(["export", str(tmp_path / "x.pt"), str(tmp_path / "m.onnx"), "--labels", "a=0", "a=1"]) == 1
    assert "names a label twice" in capsys.readouterr().err


def test_interrupted_between_windows(artifact, scan, tmp_path, capsys, monkeypatch):
    write_scan(scan.parent / "b.nii.gz", 1)
    windows_of_a = Segmenter(artifact).count_windows(SHAPE)
    real, calls = OnnxRuntimeBackend.infer, []

    def interrupted(self, windows):
        calls.append(1)
        if len(calls) == windows_of_a + 12:
            raise KeyboardInterrupt
        return real(self, windows)

    monkeypatch.setattr(OnnxRuntimeBackend, "infer", interrupted)
    assert run(artifact, scan.parent, "-o", tmp_path / "out") == 1
    assert "msdk-rt: interrupted" in capsys.readouterr().err
    assert images_in(tmp_path / "out") == ["a.nii.gz"]


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_by_a_signal(artifact, tmp_path, sent):
    """A real one to a real process in the middle of a long run."""
    scans = tmp_path / "scans"
    scans.mkdir()
    volume = np.random.default_rng(0).standard_normal((90, 90, 90)).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(volume, np.eye(4)), scans / "big.nii")
    command = "import sys; from msdk_rt.commands.main import main; sys.exit(main(sys.argv[1:]))"
    running = OnTerminal(
        [sys.executable, "-c", command, "run", artifact, scans, "-o", tmp_path / "out", "--overlap", "0.9"]
    )
    running.wait_for("segment")
    time.sleep(0.3)
    running.process.send_signal(sent)
    assert running.ended(timeout=30) == 1
    assert "msdk-rt: interrupted" in running.shown
    assert "Traceback" not in running.shown
    assert os.listdir(tmp_path / "out") == []

"""A result is kept only where the same model, settings and input made it; other files are not replaced."""

import dataclasses
import json
import os
import subprocess
import sys

import nibabel
import pytest

from msdk_rt.artifact.manifest import read_manifest, write_manifest
from msdk_rt.backends import processors
from msdk_rt.cohort import results
from tests.runtime.cohort.folders import images_in, run, write_scan
from tests.support.small_model import write_artifact


@pytest.fixture
def scan(tmp_path):
    return write_scan(tmp_path / "a.nii.gz")


@pytest.fixture
def out(artifact, scan, tmp_path):
    folder = tmp_path / "out"
    assert run(artifact, scan, "-o", folder) == 0
    return folder


def relabelled(model):
    """The same network, and another meaning of its labels."""
    write_manifest(model, dataclasses.replace(read_manifest(model), labels={"class0": 0, "class1": 7}))


def test_same_again_is_kept(artifact, scan, out, capsys):
    before = (out / "a.nii.gz").stat().st_mtime_ns
    for more in ((), ("--threads", 1), ("--batch-size", 3)):
        assert run(artifact, scan, "-o", out, *more) == 0
        assert "a: kept" in capsys.readouterr().err
    assert (out / "a.nii.gz").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("change", "more", "why"),
    [
        (relabelled, (), "another model made what was there"),
        (lambda model: write_artifact(model, classes=3), (), "another model made what was there"),
        (None, ("--overlap", 0.25), "was made with {'overlap': 0.5"),
        (None, ("--blend", "constant"), "'blend': 'gaussian'"),
        (None, ("--mirror", 0), "'mirror_axes': []"),
        (lambda model: write_scan(model.parent / "a.nii.gz", 1), (), "its input has changed since"),
        (lambda model: os.utime(model.parent / "a.nii.gz", (1, 1)), (), "its input has changed since"),
    ],
)
def test_another_model_setting_or_input(artifact, scan, out, tmp_path, capsys, change, more, why):
    if change:
        change(artifact)
    capsys.readouterr()
    assert run(artifact, scan, "-o", out, *more) == 0
    error = capsys.readouterr().err
    assert "a: segmented again, since " in error
    assert why in error
    assert run(artifact, scan, "-o", tmp_path / "fresh", *more) == 0
    assert (out / "a.nii.gz").read_bytes() == (tmp_path / "fresh" / "a.nii.gz").read_bytes()
    assert run(artifact, scan, "-o", out, *more) == 0
    assert "a: kept" in capsys.readouterr().err


def edit(path, **changes):
    record = json.loads(path.read_text())["Provenance"]
    path.write_text(json.dumps({"Provenance": record | changes}))


def corrected_by_hand(out):
    image = nibabel.load(out / "a.nii.gz")
    labels = image.get_fdata().astype("uint8")
    labels[:3] = 1
    nibabel.save(nibabel.Nifti1Image(labels, image.affine, image.header), out / "a.nii.gz")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (corrected_by_hand, "was changed since it was made"),
        (lambda out: (out / "a.nii.gz.json").unlink(), "has no record a.nii.gz.json of what made it"),
        (lambda out: (out / "a.nii.gz.json").write_text("{"), "has no record"),
        (lambda out: (out / "a.nii.gz.json").write_text('{"Provenance": 3}'), "has no record"),
        (lambda out: edit(out / "a.nii.gz.json", labels=[1]), "has no record"),
    ],
)
def test_somebodys_work_is_not_replaced(artifact, scan, out, capsys, change, why):
    change(out)
    before = (out / "a.nii.gz").read_bytes()
    assert run(artifact, scan, "-o", out) == 1
    error = capsys.readouterr().err
    assert why in error
    assert "--overwrite replaces it" in error
    assert (out / "a.nii.gz").read_bytes() == before
    assert run(artifact, scan, "-o", out, "--overwrite") == 0
    assert run(artifact, scan, "-o", out) == 0


def test_the_record_says_what_made_it(artifact, scan, out):
    record = json.loads((out / "a.nii.gz.json").read_text())["Provenance"]
    assert record["model"]["sha256"] == read_manifest(artifact).sha256
    assert record["inputs"] == [
        {"file": "a.nii.gz", "bytes": scan.stat().st_size, "mtime_ns": scan.stat().st_mtime_ns}
    ]
    assert record["spacing_mm"] == [1, 1, 2]
    assert record["made_with"]["providers"][-1] == "CPUExecutionProvider"
    assert {"msdk_rt", "numpy", "onnxruntime"} <= record["made_with"].keys()
    assert str(scan.parent) not in json.dumps(record)


def test_record_and_report_say_the_threads_that_were_used(artifact, scan, tmp_path, monkeypatch, capsys):
    """Not those asked for, of which this process may not use all."""
    monkeypatch.setattr(processors, "usable_processors", lambda: 3)
    monkeypatch.setattr(processors, "physical_cores", lambda: 2)
    for asked, used in (([], 2), (["--threads", 1], 1), (["--threads", 100], 3)):
        out = tmp_path / f"used-{used}"
        assert run(artifact, scan, "-o", out, "--json", *asked) == 0
        record = json.loads((out / "a.nii.gz.json").read_text())["Provenance"]
        assert record["made_with"]["threads"] == used
        assert json.loads(capsys.readouterr().out)["threads"] == used


def test_a_replacement_that_was_killed_is_made_again(artifact, scan, out, monkeypatch, capsys):
    """Between the new record and the new labels."""
    real = os.replace

    def killed(source, target):
        if target == out / "a.nii.gz":
            raise KeyboardInterrupt
        real(source, target)

    monkeypatch.setattr(results.os, "replace", killed)
    assert run(artifact, scan, "-o", out, "--overlap", 0) == 1
    monkeypatch.undo()
    capsys.readouterr()
    assert run(artifact, scan, "-o", out, "--overlap", 0) == 0
    assert "since its replacement was interrupted" in capsys.readouterr().err
    assert run(artifact, scan, "-o", out, "--overlap", 0) == 0
    assert "kept" in capsys.readouterr().err


def test_two_runs_at_once_leave_results_with_their_own_records(artifact, tmp_path):
    """With different settings, so that every file has two makers."""
    scans = tmp_path / "scans"
    scans.mkdir()
    for index in range(6):
        write_scan(scans / f"{index}.nii.gz", index)
    out = tmp_path / "out"
    command = "import sys; from msdk_rt.commands.main import main; sys.exit(main(sys.argv[1:]))"
    arguments = [sys.executable, "-c", command, "run", artifact, scans, "-o", out, "--overwrite", "--quiet"]
    jobs = [
        subprocess.Popen([*map(str, arguments), "--overlap", overlap], stderr=subprocess.DEVNULL)
        for overlap in ("0", "0.5")
    ]
    assert [job.wait(timeout=120) for job in jobs] == [0, 0]
    whole = {}
    for overlap in (0, 0.5):
        whole[overlap] = tmp_path / f"alone-{overlap}"
        assert run(artifact, scans, "-o", whole[overlap], "--overlap", overlap) == 0
    assert images_in(out) == [f"{index}.nii.gz" for index in range(6)]
    for path in out.glob("*.nii.gz"):
        overlap = json.loads((out / f"{path.name}.json").read_text())["Provenance"]["settings"]["overlap"]
        assert path.read_bytes() == (whole[overlap] / path.name).read_bytes()
    assert not list(out.glob(".msdk-*"))

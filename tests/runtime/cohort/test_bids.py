"""A BIDS dataset of twelve subjects through `msdk-rt bids`: cases, what is written, what is resumed."""

import dataclasses
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time

import nibabel
import numpy as np
import pytest

from msdk_rt.artifact.manifest import read_manifest, write_manifest
from msdk_rt.cohort.bids.query import parse_file, parse_query, queries_for
from msdk_rt.commands.main import main
from msdk_rt.errors import InputError
from tests.support.small_model import write_artifact

SHAPE = (12, 11, 10)
BIDS_CODES = 1  # qform and sform: scanner


def write_scan(path, seed, shape=SHAPE):
    path.parent.mkdir(parents=True, exist_ok=True)
    voxels = np.random.default_rng(seed).gamma(2, 100, shape).astype(np.float32)
    image = nibabel.Nifti1Image(voxels, np.diag([1, 1, 2, 1]))
    image.header.set_xyzt_units("mm", "sec")
    image.set_qform(image.affine, BIDS_CODES)
    image.set_sform(image.affine, BIDS_CODES)
    nibabel.save(image, path)


@pytest.fixture
def dataset(tmp_path):
    """Twelve subjects: 01 to 08 plain, 09 with sessions, 10 with runs, 11 without FLAIR, 12 with two T1w."""
    root = tmp_path / "dataset"
    root.mkdir()
    description = {
        "Name": "Heads",
        "BIDSVersion": "1.10.0",
        "Authors": ["A. One", "B. Two"],
        "License": "CC0",
    }
    (root / "dataset_description.json").write_text(json.dumps(description))
    for number in range(1, 9):
        for suffix in ("T1w", "FLAIR", "ce-gad_T1w"):
            write_scan(root / f"sub-{number:02d}" / "anat" / f"sub-{number:02d}_{suffix}.nii.gz", number)
    for session in ("1", "2"):
        for suffix in ("T1w", "FLAIR"):
            name = f"sub-09_ses-{session}_{suffix}.nii.gz"
            write_scan(root / "sub-09" / f"ses-{session}" / "anat" / name, 9)
    for name in ("run-1_T1w", "run-2_T1w", "FLAIR"):
        write_scan(root / "sub-10" / "anat" / f"sub-10_{name}.nii.gz", 10)
    write_scan(root / "sub-11" / "anat" / "sub-11_T1w.nii.gz", 11)
    for name in ("acq-a_T1w", "acq-b_T1w", "FLAIR"):
        write_scan(root / "sub-12" / "anat" / f"sub-12_{name}.nii.gz", 12)
    return root


@pytest.fixture
def model(tmp_path):
    path = write_artifact(tmp_path / "model.onnx", channels=2)
    write_manifest(path, dataclasses.replace(read_manifest(path), channels=("t1", "flair")))
    return path


CASES = [
    *(f"sub-{number:02d}" for number in range(1, 9)),
    *("sub-09_ses-1", "sub-09_ses-2", "sub-10_run-1", "sub-10_run-2"),
]


def bids(dataset, output, model, *more):
    return main(["bids", *map(str, [dataset, output, "participant", "--model", model, "--quiet", *more])])


def results(output):
    return sorted(path.name.removesuffix("_dseg.nii.gz") for path in finished(output))


def finished(output):
    """Labels under their final names."""
    return [*output.glob("sub-*/anat/*_dseg.nii.gz"), *output.glob("sub-*/ses-*/anat/*_dseg.nii.gz")]


def test_twelve_subjects(dataset, model, tmp_path, capsys):
    output = dataset / "derivatives" / "msdk_rt"
    assert bids(dataset, output, model, "--json") == 1
    report = json.loads(capsys.readouterr().out)
    assert results(output) == CASES
    assert [case["case"] for case in report["cases"]] == CASES
    reasons = {entry["path"].rpartition("/")[2]: entry["reason"] for entry in report["left_out"]}
    assert reasons.keys() == {"sub-11", "sub-12"}
    assert "has no file for the channel flair (FLAIR)" in reasons["sub-11"]
    assert "has 2 files for the channel t1 (sub-12_acq-a_T1w.nii.gz, sub-12_acq-b" in reasons["sub-12"]

    folder = output / "sub-09" / "ses-2" / "anat"
    base = "sub-09_ses-2_dseg"
    assert sorted(os.listdir(folder)) == [f"{base}.json", f"{base}.nii.gz", f"{base}.tsv"]
    assert (folder / f"{base}.tsv").read_text() == "index\tname\n0\tclass0\n1\tclass1\n"
    sidecar = json.loads((folder / f"{base}.json").read_text())
    assert sidecar["Sources"] == [
        "bids:raw:sub-09/ses-2/anat/sub-09_ses-2_T1w.nii.gz",
        "bids:raw:sub-09/ses-2/anat/sub-09_ses-2_FLAIR.nii.gz",
    ]
    assert sidecar["Provenance"]["settings"]["overlap"] == 0.5
    assert len(sidecar["Provenance"]["model"]["sha256"]) == 64
    description = json.loads((output / "dataset_description.json").read_text())
    assert description["DatasetLinks"] == {"raw": "../.."}
    assert str(tmp_path) not in (folder / f"{base}.json").read_text() + json.dumps(description)

    # nothing changed: all kept; with --channel, subject 12 is no longer ambiguous
    assert bids(dataset, output, model, "--json") == 1
    assert all(case["kept"] for case in json.loads(capsys.readouterr().out)["cases"])
    assert bids(dataset, output, model, "--participant-label", "12", "--channel", "t1=acq-b_T1w") == 0
    assert results(output) == [*CASES, "sub-12"]


def test_participants(dataset, model, tmp_path, capsys):
    output = tmp_path / "out"
    assert bids(dataset, output, model, "--participant-label", "02", "sub-09") == 0
    assert results(output) == ["sub-02", "sub-09_ses-1", "sub-09_ses-2"]
    assert bids(dataset, output, model, "--participant-label", "02", "99") == 1
    assert "sub-99 is not in the dataset" in capsys.readouterr().err


@pytest.mark.skipif(
    not importlib.util.find_spec("bids_validator_deno"),
    reason="the extra [dev] brings the BIDS validator: pip install bids-validator-deno",
)
def test_the_validator_has_nothing_to_say(dataset, model, tmp_path):
    output = tmp_path / "out"
    bids(dataset, output, model)
    validator = os.path.join(os.path.dirname(sys.executable), "bids-validator-deno")
    done = subprocess.run(
        [validator, output, "--format", "json"], capture_output=True, text=True, timeout=120
    )
    said = json.loads(done.stdout)
    assert said["issues"]["issues"] == []
    assert sorted(said["summary"]["subjects"]) == [f"{number:02d}" for number in range(1, 11)]


def test_resumed_after_a_kill(dataset, model, tmp_path, capsys):
    output = tmp_path / "out"
    command = "import sys; from msdk_rt.commands.main import main; sys.exit(main(sys.argv[1:]))"
    arguments = ["bids", dataset, output, "participant", "--model", model, "--overlap", "0.7", "--quiet"]
    process = subprocess.Popen([sys.executable, "-c", command, *arguments], stderr=subprocess.DEVNULL)
    while len(results(output)) < 3 and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=60)
    done = {path: path.stat().st_mtime_ns for path in finished(output)}
    assert len(done) >= 3
    assert bids(dataset, output, model, "--overlap", "0.7", "--json") == 1
    cases = json.loads(capsys.readouterr().out)["cases"]
    assert sum(case.get("kept", False) for case in cases) == len(done)
    assert {path: path.stat().st_mtime_ns for path in done} == done
    assert results(output) == CASES
    assert not list(output.rglob(".msdk-*"))


def test_a_folder_of_something_else_is_refused(dataset, model, tmp_path, capsys):
    (tmp_path / "plain").mkdir()
    assert bids(tmp_path / "plain", tmp_path / "out", model) == 1
    assert "is no BIDS dataset" in capsys.readouterr().err
    assert bids(dataset, dataset, model) == 1
    assert "is the dataset: give" in capsys.readouterr().err
    other = tmp_path / "other"
    other.mkdir()
    entries = {"Name": "x", "BIDSVersion": "1.10.0", "GeneratedBy": [{"Name": "fMRIPrep"}]}
    (other / "dataset_description.json").write_text(json.dumps(entries))
    assert bids(dataset, other, model) == 1
    assert "msdk_rt did not make" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("query", "name", "taken"),
    [
        ("T1w", "sub-1_T1w.nii.gz", True),
        ("T1w", "sub-1_ce-gad_T1w.nii.gz", False),
        ("ce-*_T1w", "sub-1_ce-gad_T1w.nii.gz", True),
        ("ce-*_T1w", "sub-1_T1w.nii.gz", False),
        ("acq-b_T1w", "sub-1_acq-a_T1w.nii", False),
        ("T2w", "sub-1_T1w.nii.gz", False),
    ],
)
def test_queries(query, name, taken, tmp_path):
    assert parse_query(query).takes(parse_file(tmp_path / name)) == taken


def test_channel_names():
    assert [str(query) for query in queries_for(["T1", "t1ce", "t2w", "T2-FLAIR"], {})] == [
        *("T1w", "ce-*_T1w", "T2w", "FLAIR")
    ]
    with pytest.raises(InputError, match="--channel m0=T1w"):
        queries_for(["m0"], {})
    with pytest.raises(InputError, match="no channel t9"):
        queries_for(["t1"], {"t9": "T1w"})
    with pytest.raises(InputError, match="is no BIDS suffix"):
        parse_query("acq_T1w")

"""A folder of 40 entries of which 15 are sick in 15 ways: 25 results, 15 sentences, one report of all 40."""

import json
import os

import nibabel
import numpy as np
import pytest

from tests.runtime.cohort.folders import SHAPE, images_in, run, write_scan

ANNEX = "../.git/annex/objects/xX/annexed"
LONG = "x" * 244 + ".nii.gz"


def cut(path):
    write_scan(path)
    path.write_bytes(path.read_bytes()[:-99])


def with_nan(path):
    nibabel.save(nibabel.Nifti1Image(np.full(SHAPE, np.nan, np.float32), np.eye(4)), path)


SICK = {
    "annexed.nii.gz": (
        lambda path: path.symlink_to(ANNEX),
        f"is a link to {ANNEX}, which is missing: `git an",
    ),
    "loop.nii.gz": (lambda path: path.symlink_to(path.name), "is a link that leads back to itself"),
    "folder.nii.gz": (os.mkdir, "is a folder"),
    "pipe.nii.gz": (os.mkfifo, "is no regular file but a pipe"),
    "cut.nii": (cut, "is it truncated?"),
    "empty.nii.gz": (lambda path: path.write_bytes(b""), "cannot read"),
    "flat.nii.gz": (lambda path: write_scan(path, shape=(9, 10)), "expected one 3D volume"),
    "nan.nii.gz": (with_nan, "channel m0 has 990 NaN"),
    "complex.nii.gz": (lambda path: write_scan(path, dtype=np.complex64), "holds complex64 voxels"),
    "nnunet_0001.nii.gz": (write_scan, "is channel 1 by its name, and the model takes _0000 = m0"),
    ".hidden.nii.gz": (write_scan, "is hidden"),
    "scan.mhd": (lambda path: path.write_text("ObjectType = Image"), "is no image by its name"),
    LONG: (write_scan, "so long a name that its result's would have 256 bytes"),
    "line\nbreak.nii.gz": (write_scan, "has control characters in its name"),
    os.fsdecode(b"caf\xe9.nii.gz"): (write_scan, "has a name that is not UTF-8"),
}
SOUND = ["capitals", *(f"case{index:02d}" for index in range(23)), "nnunet"]


@pytest.fixture
def scans(tmp_path):
    folder = tmp_path / "scans"
    folder.mkdir()
    for index in range(23):
        write_scan(folder / f"case{index:02d}.nii.gz", index)
    write_scan(folder / "capitals.NII.GZ", 23)
    write_scan(folder / "nnunet_0000.nii.gz", 24)
    for name, (make, _) in SICK.items():
        make(folder / name)
    return folder


def test_forty_entries(artifact, scans, tmp_path, capsys):
    out = tmp_path / "out"
    assert len(os.listdir(scans)) == 40
    assert run(artifact, scans, "-o", out, "--json") == 1
    captured = capsys.readouterr()
    assert images_in(out) == [f"{name}.nii.gz" for name in SOUND]

    report = json.loads(captured.out)
    reasons = {entry["path"]: entry["reason"] for entry in report["left_out"]}
    reasons |= {case["inputs"][0]: case["error"] for case in report["cases"] if "error" in case}
    assert reasons.keys() == {str(scans / name) for name in SICK}
    for name, (_, sentence) in SICK.items():
        assert sentence in reasons[str(scans / name)]
    done = [case["inputs"][0] for case in report["cases"] if "error" not in case]
    assert len({*done, *reasons}) == 40

    lines = captured.err.split("msdk-rt: ")[1:]
    assert sum(any(sentence in line for _, sentence in SICK.values()) for line in lines) == 15
    rows = [row.split("\t") for row in (out / "volumes.tsv").read_text().splitlines()[1:]]
    assert {row[0] for row in rows if row[1] != "n/a"} == set(SOUND)
    assert sum(row[1] == "n/a" for row in rows) == 15
    page = (out / "qc.html").read_text()
    assert "25 segmented, 15 without a result" in page
    assert page.count('<tr class="failed">') == 15
    assert page.count('src="data:image/png;base64,') == 25

    # again: what is done is kept, what is sick is still told
    assert run(artifact, scans, "-o", out, "--json") == 1
    again = json.loads(capsys.readouterr().out)
    assert [case["case"] for case in again["cases"] if case.get("kept")] == SOUND
    assert again["left_out"] == report["left_out"]

"""What is a case, where its result goes, and how a cohort is split."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from msdk_rt.cohort.cases import LeftOut, case_at, file_fault
from msdk_rt.cohort.other_parts import cohort_of
from msdk_rt.cohort.part import Part, parse_part
from msdk_rt.cohort.plan import Plan, part_of, plan
from msdk_rt.errors import InputError, OutputError
from tests.runtime.cohort.folders import images_in, run, write_scan
from tests.support.small_model import write_artifact


def folder_of(tmp_path, *names):
    folder = tmp_path / "scans"
    folder.mkdir()
    for name in names:
        (folder / name).write_bytes(b"x")
    return folder


def planned(tmp_path, channels, *names):
    made = plan([folder_of(tmp_path, *names)], channels, tmp_path / "out")
    cases = {case.name: [path.name for path in case.inputs] for case in made.cases}
    return cases, {entry.path.name: entry.reason for entry in made.left_out}


def test_one_channel(tmp_path):
    cases, left_out = planned(
        tmp_path,
        ["t1"],
        "A_0000.nii.gz",
        "A_0001.nii.gz",
        "b.NII",
        "c.nii",
        "c.nii.gz",
        "d.nii",
        "d_0000.nii",
    )
    assert cases == {"A": ["A_0000.nii.gz"], "b": ["b.NII"]}
    assert left_out.keys() == {"A_0001.nii.gz", "c.nii", "c.nii.gz", "d.nii", "d_0000.nii"}
    assert "2 files for channel t1 (c.nii and c.nii.gz): keep one" in left_out["c.nii"]


def test_two_channels(tmp_path):
    cases, left_out = planned(
        tmp_path,
        ["t1", "t2"],
        *("a_0000.nii.gz", "a_0001.NII.GZ", "b_0000.nii.gz", "c_0000.nii", "c_0001.nii", "c_0001.nii.gz"),
        *("a_0002.nii.gz", "plain.nii.gz"),
    )
    assert cases == {"a": ["a_0000.nii.gz", "a_0001.NII.GZ"]}
    assert "lacks the channel t2 (_0001)" in left_out["b_0000.nii.gz"]
    assert "2 files for channel t2" in left_out["c_0000.nii"]
    assert "is channel 2 by its name, and the model takes _0000 = t1, _0001 = t2" in left_out["a_0002.nii.gz"]
    assert "such as plain_0000.nii.gz for t1" in left_out["plain.nii.gz"]
    assert len(left_out) == 6


def test_metadata_beside_an_image_is_no_lost_case(artifact, tmp_path, capsys):
    scans = tmp_path / "scans"
    scans.mkdir()
    write_scan(scans / "a.nii.gz")
    for name in ("a.json", ".DS_Store", "._a.nii.gz"):
        (scans / name).write_bytes(b"{}")
    assert run(artifact, scans, "-o", tmp_path / "out", "--json") == 0
    assert [entry["harmless"] for entry in json.loads(capsys.readouterr().out)["left_out"]] == [True] * 3
    (scans / "b.json").write_bytes(b"{}")
    assert run(artifact, scans, "-o", tmp_path / "out") == 1
    assert "b.json is no image by its name" in capsys.readouterr().err


def test_results_inside_the_input_folder(artifact, tmp_path, capsys):
    scans = tmp_path / "scans"
    scans.mkdir()
    write_scan(scans / "a.nii.gz")
    assert run(artifact, scans, "-o", scans / "out") == 0
    assert run(artifact, scans, "-o", scans / "out") == 0
    assert run(artifact, scans, "-o", scans) == 1
    assert "is the input folder" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["labels.mhd", "out.nii.zip", "labels.npz", "LABELS.MGZ", "out.img"])
def test_an_image_that_cannot_be_written_is_no_folder(artifact, tmp_path, capsys, name):
    scan = write_scan(tmp_path / "a.nii.gz")
    assert run(artifact, scan, "-o", tmp_path / name) == 1
    assert "Results are .nii.gz or .nii or .mha or .nrrd or .gipl or .seg.dcm or .rtstruct.dcm" in (
        capsys.readouterr().err
    )
    assert not (tmp_path / name).exists()


@pytest.mark.parametrize("name", ["OUT.NII.GZ", "Out.Nii"])
def test_suffixes_in_capitals(artifact, tmp_path, name):
    scan = write_scan(tmp_path / "a.nii.gz")
    assert run(artifact, scan, "-o", tmp_path / name) == 0
    assert ((tmp_path / name).read_bytes()[:2] == b"\x1f\x8b") == name.endswith("GZ")


def test_a_sick_file_among_given_ones(artifact, tmp_path, capsys):
    write_scan(tmp_path / "a.nii.gz")
    (tmp_path / "b.nii.gz").symlink_to("gone")
    given = [tmp_path / "a.nii.gz", tmp_path / "b.nii.gz"]
    assert run(artifact, *given, "-o", tmp_path / "out") == 1
    assert "b.nii.gz is a link to gone, which is missing" in capsys.readouterr().err
    assert images_in(tmp_path / "out") == ["a.nii.gz"]
    with pytest.raises(InputError, match="is a folder: give one folder, or"):
        plan([tmp_path, tmp_path / "out"], ["t1"], tmp_path / "more")


def test_a_locked_file_is_told(tmp_path, monkeypatch):
    path = write_scan(tmp_path / "a.nii.gz")

    def locked(*arguments):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", locked)  # root reads every file, whatever its mode
    assert file_fault(path) == "cannot be read, Permission denied: make it readable for this user"


def test_labels_named_as_probabilities_of_another(tmp_path):
    cases, left_out = planned(tmp_path, ["t1"], "a.nii.gz", "a_probabilities.nii.gz")
    assert list(cases) == ["a"]
    assert "the name of the probabilities of a" in left_out["a_probabilities.nii.gz"]


def test_parts_are_the_whole_once(tmp_path):
    names = [f"{index:02d}.nii" for index in range(10)]
    whole = plan([folder_of(tmp_path, *names, "x.txt", "y.txt")], ["t1"], tmp_path / "out")
    parts = [part_of(whole, Part(index, 3)) for index in (1, 2, 3)]
    assert sorted(case.name for part in parts for case in part.cases) == [name[:2] for name in names]
    assert sorted(entry.path.name for part in parts for entry in part.left_out) == ["x.txt", "y.txt"]
    assert [len(part.cases) for part in parts] == [4, 3, 3]
    for part in parts:
        assert {case.name for case in part.cases + part.other_cases} == {name[:2] for name in names}


@given(st.sets(st.text("abc019", min_size=1), max_size=40), st.integers(0, 9), st.integers(1, 60))
def test_parts_lose_nothing_and_count_nothing_twice(names, others, count):
    cases = [case_at(name, (Path(name),), Path("out", name)) for name in sorted(names)]
    left_out = [LeftOut(Path(f"x{index}"), "is none") for index in range(others)]
    whole = Plan(tuple(cases), tuple(left_out), folder=Path("out"))
    parts = [part_of(whole, Part(index, count)) for index in range(1, count + 1)]
    assert sorted((case for part in parts for case in part.cases), key=lambda case: case.name) == cases
    assert sorted(entry.path for part in parts for entry in part.left_out) == [e.path for e in left_out]
    sizes = [len(part.cases) for part in parts]
    assert max(sizes) - min(sizes) <= 1
    for part in parts:
        assert sorted(case.name for case in part.cases + part.other_cases) == sorted(names)
        assert cohort_of(part) == cohort_of(whole)
        assert part_of(whole, part.part) == part


def test_parts_of_a_folder_that_changed_in_between_are_told(artifact, tmp_path, capsys):
    """Part 1 saw four cases, part 2 five: some would be in no part."""
    scans, out = tmp_path / "scans", tmp_path / "out"
    scans.mkdir()
    for index, name in enumerate("acde"):
        write_scan(scans / f"{name}.nii.gz", index)
    assert run(artifact, scans, "-o", out, "--part", "1/3") == 0
    write_scan(scans / "0.nii.gz", 9)
    assert run(artifact, scans, "-o", out, "--part", "2/3") == 0
    told = capsys.readouterr().err
    assert "warning: part 1/3 was split from 4 cases and 0 other entries, this part from 5 and 0" in told
    assert json.loads((out / "report.2-of-3.json").read_text())["cohort"]["cases"] == 5
    assert run(artifact, scans, "-o", out, "--part", "1/3") == 0
    assert "was split" not in capsys.readouterr().err
    (out / "report.1-of-3.json").write_text("[1]")
    assert run(artifact, scans, "-o", out, "--part", "3/3") == 0
    assert "was split" not in capsys.readouterr().err


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "a/b", "1/0", "-1/3"])
def test_parts_that_are_none(text):
    with pytest.raises(ValueError, match="expected i/n"):
        parse_part(text)


def test_an_array_of_jobs(tmp_path, capsys):
    artifact = write_artifact(tmp_path / "model.onnx")
    scans = tmp_path / "scans"
    scans.mkdir()
    for index in range(5):
        write_scan(scans / f"{index}.nii.gz", index)
    (scans / "1.nii.gz").write_bytes(b"")
    (scans / "foreign").write_text("?")
    out = tmp_path / "out"
    codes = [run(artifact, scans, "-o", out, "--part", f"{index}/3") for index in (1, 2)]
    assert codes == [1, 1]  # the foreign entry is the first's, the empty scan the second's
    assert "not segmented yet" in (out / "volumes.tsv").read_text()
    assert run(artifact, scans, "-o", out, "--part", "3/3") == 0
    assert images_in(out) == ["0.nii.gz", "2.nii.gz", "3.nii.gz", "4.nii.gz"]
    table = (out / "volumes.tsv").read_text()
    assert "not segmented yet" not in table
    failed = {row.split("\t")[0] for row in table.splitlines() if "n/a\tn/a\tn/a" in row}
    assert failed == {"1", "foreign"}
    assert sorted(path.name for path in out.glob("report*")) == [
        f"report.{index}-of-3.json" for index in (1, 2, 3)
    ]


def test_somebody_elses_table_is_not_replaced(artifact, tmp_path):
    write_scan(tmp_path / "a.nii.gz")
    out = tmp_path / "out"
    out.mkdir()
    (out / "volumes.tsv").write_text("mine")
    assert run(artifact, tmp_path / "a.nii.gz", "-o", out) == 1
    assert os.listdir(out) == ["volumes.tsv"]


def test_a_folder_that_cannot_be_one(tmp_path):
    (tmp_path / "file").write_text("?")
    with pytest.raises(OutputError, match="is a file, expected a folder"):
        plan([write_scan(tmp_path / "a.nii")], ["t1"], tmp_path / "file")

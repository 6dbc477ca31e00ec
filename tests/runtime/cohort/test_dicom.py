"""`msdk-rt run` on DICOM: folders, zips, cohorts, rules per channel, results; nothing identifying."""

import json
import shutil

import nibabel
import numpy as np
import pytest

from msdk_rt.cohort.series import parse_rules
from msdk_rt.commands.main import main
from msdk_rt.errors import InputError
from tests.runtime.cohort.folders import run, write_scan
from tests.runtime.imaging.dicom.small_series import SHAPE, VOXELS, at, write_small
from tests.support.dicom_series import edit
from tests.support.small_model import write_artifact

pytest.importorskip("SimpleITK")
SECRETS = ("SECRET", "1950", "ACC77", "MPRAGE", "FLAIR", "1.2.826")


def write_study(folder):
    """Two series of one patient in two folders."""
    write_small(folder / "first")
    second = write_small(
        folder / "second", series_uid="1.2.826.0.1.3680043.8.498.2", number=5, description="T2 FLAIR"
    )
    for path in second.glob("*.dcm"):
        edit(path, RescaleSlope=3, RescaleIntercept=0)
    return folder


def labels_of(path):
    return np.asarray(nibabel.load(path).dataobj)


def test_a_dicom_folder_gives_the_labels_of_the_nifti_file(artifact, tmp_path):
    import SimpleITK as sitk

    series = write_small(tmp_path / "series")
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(series)))
    sitk.WriteImage(reader.Execute(), str(tmp_path / "same.nii.gz"))
    assert run(artifact, series, "-o", tmp_path / "a.nii.gz") == 0
    assert run(artifact, tmp_path / "same.nii.gz", "-o", tmp_path / "b.nii.gz") == 0
    np.testing.assert_array_equal(labels_of(tmp_path / "a.nii.gz"), labels_of(tmp_path / "b.nii.gz"))
    affines = [nibabel.load(tmp_path / name).affine for name in ("a.nii.gz", "b.nii.gz")]
    np.testing.assert_allclose(*affines, atol=1e-4)


def test_a_study_needs_a_choice_and_takes_it(artifact, tmp_path, capsys):
    study = write_study(tmp_path / "study")
    assert run(artifact, study, "-o", tmp_path / "out.nii.gz") == 1
    assert "choose one with --series" in capsys.readouterr().err.replace("Choose", "choose")
    assert run(artifact, study, "-o", tmp_path / "out.nii.gz", "--series", "5") == 0
    assert run(artifact, study / "second", "-o", tmp_path / "direct.nii.gz") == 0
    np.testing.assert_array_equal(labels_of(tmp_path / "out.nii.gz"), labels_of(tmp_path / "direct.nii.gz"))


def test_a_rule_per_channel(tmp_path, capsys):
    model = write_artifact(tmp_path / "model.onnx", channels=2)
    study = write_study(tmp_path / "study")
    assert run(model, study, "-o", tmp_path / "out.nii.gz") == 1
    assert "--series CHANNEL=SERIES" in capsys.readouterr().err
    rules = ("--series", "m0=3", "--series", "m1=*flair*")
    assert run(model, study, "-o", tmp_path / "out.nii.gz", *rules) == 0
    folders = (study / "first", study / "second")
    assert run(model, *folders, "-o", tmp_path / "direct.nii.gz") == 0
    np.testing.assert_array_equal(labels_of(tmp_path / "out.nii.gz"), labels_of(tmp_path / "direct.nii.gz"))


def test_rules():
    assert parse_rules(["T1=x"], ["t1"]) == {"t1": "T1=x"}
    assert parse_rules(["t1=a=b"], ["t1"]) == {"t1": "a=b"}
    for texts, channels, said in (
        (["3"], ["a", "b"], "names no channel"),
        (["a=3"], ["a", "b"], "names no series for b"),
        (["a=3", "a=4"], ["a"], "twice"),
        (["a="], ["a", "b"], "names no channel"),
    ):
        with pytest.raises(InputError, match=said):
            parse_rules(texts, channels)


def test_a_cohort_of_folders_zips_and_nifti_files(artifact, tmp_path):
    cohort = tmp_path / "cohort"
    write_small(cohort / "one")
    write_small(cohort / "two" / "deeper", study_uid="1.2.826.0.1.3680043.8.498.10")
    shutil.make_archive(str(cohort / "three"), "zip", cohort / "one")
    write_scan(cohort / "four.nii.gz")
    shutil.copytree(cohort / "one", cohort / "broken")
    at(cohort / "broken", 4).unlink()
    (cohort / "empty").mkdir()
    assert run(artifact, cohort, "-o", tmp_path / "out") == 1
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    errors = {case["case"]: case.get("error", "") for case in report["cases"]}
    assert errors.keys() == {"one", "two", "three", "four", "broken"}
    assert [name for name, error in errors.items() if error] == ["broken"]
    assert "lacks 1 slice(s)" in errors["broken"]
    assert [entry["path"].rpartition("/")[2] for entry in report["left_out"]] == ["empty"]
    first, *others = (labels_of(tmp_path / "out" / f"{name}.nii.gz") for name in ("one", "two", "three"))
    for other in others:
        np.testing.assert_array_equal(first, other)


def test_a_result_is_kept_until_a_slice_changes(artifact, tmp_path, capsys):
    series = write_small(tmp_path / "series")
    arguments = (artifact, series, "-o", tmp_path / "out", "--format", "seg.dcm")
    assert run(*arguments) == 0
    assert run(*arguments) == 0
    assert "kept" in capsys.readouterr().err
    edit(at(series, 2), RescaleSlope=2, RescaleIntercept=0)
    assert run(*arguments) == 0
    assert "its input has changed" in capsys.readouterr().err


def test_a_foreign_segmentation_is_not_replaced(artifact, tmp_path, capsys):
    series = write_small(tmp_path / "series")
    output = tmp_path / "out.seg.dcm"
    assert run(artifact, series, "-o", output) == 0
    (tmp_path / "out.seg.dcm.json").unlink()
    before = output.read_bytes()
    assert run(artifact, series, "-o", output) == 1
    assert "--overwrite replaces it" in capsys.readouterr().err
    assert output.read_bytes() == before


@pytest.mark.parametrize("form", ["seg.dcm", "rtstruct.dcm"])
def test_dicom_results_need_dicom_inputs(artifact, tmp_path, capsys, form):
    cohort = tmp_path / "cohort"
    cohort.mkdir()
    write_scan(cohort / "a.nii.gz")
    assert run(artifact, cohort, "-o", tmp_path / "out", "--format", form) == 1
    assert "is no DICOM image" in capsys.readouterr().err
    write_small(cohort / "b")
    assert run(artifact, cohort, "-o", tmp_path / "out", "--format", form, "--probabilities") == 1
    names = {path.name for path in (tmp_path / "out").glob("b*")}
    assert names == {"b_probabilities.nii.gz", f"b.{form}", f"b.{form}.json"}


def test_a_result_does_not_land_among_the_slices(artifact, tmp_path, capsys):
    series = write_small(tmp_path / "series")
    assert run(artifact, series, "-o", series / "out.nii.gz") == 1
    assert "would lie in the input folder" in capsys.readouterr().err


def test_the_segmentation_holds_the_labels(artifact, tmp_path):
    import highdicom

    series = write_small(tmp_path / "series")
    assert run(artifact, series, "-o", tmp_path / "out.seg.dcm") == 0
    assert run(artifact, series, "-o", tmp_path / "out.nii.gz") == 0
    found = highdicom.seg.segread(tmp_path / "out.seg.dcm")
    expected = np.count_nonzero(labels_of(tmp_path / "out.nii.gz") == 1)
    assert 0 < expected < VOXELS.size
    assert found.get_volume(combine_segments=True).array.sum() == expected
    assert found.get_segment_description(1).segment_label == "class1"
    assert found.Rows == SHAPE[1]


def test_nothing_identifying_leaves_the_images(artifact, tmp_path, capfd):
    """Names, dates, numbers are in the DICOM result, which must carry them, and nowhere else."""
    study = write_study(tmp_path / "study")
    out = tmp_path / "out"
    assert run(artifact, study, "-o", out, "--series", "*MPRAGE*", "--format", "seg.dcm", "--json") == 0
    assert run(artifact, study, "-o", out, "--series", "9", "--json") == 1
    edit(at(study / "first", 0), PatientBirthDate="19501345", PatientAge="SECRETAGE")  # no such day
    refused = run(artifact, study, "-o", out / "a.seg.dcm", "--series", "3", "--json")
    assert (refused, run(artifact, study, "-o", out / "a.nii.gz", "--series", "3", "--json")) == (1, 0)
    at(study / "first", 4).write_bytes(at(study / "first", 4).read_bytes()[:900])
    assert run(artifact, study, "-o", tmp_path / "other", "--series", "3", "--json") == 1
    texts = dict(zip(("stdout", "stderr"), capfd.readouterr(), strict=True))
    for path in out.rglob("*"):
        if path.is_file() and path.suffix != ".dcm":
            texts[path.name] = path.read_bytes().decode("latin-1")
    assert {"report.json", "qc.html", "volumes.tsv"} <= texts.keys()
    assert [(name, secret) for name, text in texts.items() for secret in SECRETS if secret in text] == []
    assert b"SECRETNAME" in (out / "study.seg.dcm").read_bytes()


def test_the_series_of_a_folder_are_listed(tmp_path, capsys):
    assert main(["series", str(write_study(tmp_path / "study"))]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "series 3 (MR, 9 images of 7 x 6): T1 MPRAGE",
        "series 5 (MR, 9 images of 7 x 6): T2 FLAIR",
    ]

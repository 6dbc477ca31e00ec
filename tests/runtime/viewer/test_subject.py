"""What `msdk-rt view` shows for what it is given."""

import gzip
import json

import nibabel
import numpy as np
import pytest

from msdk_rt.commands.main import main
from msdk_rt.errors import InputError
from msdk_rt.viewer.subject import find, load, table_of
from tests.runtime.cohort.folders import AFFINE, SHAPE, run, write_scan


def nifti_of(packed):
    return nibabel.Nifti1Image.from_bytes(gzip.decompress(packed))


def test_a_result_of_run_with_its_image_beside_it(artifact, tmp_path):
    scan = write_scan(tmp_path / "t1.nii.gz")
    assert run(artifact, scan, "-o", tmp_path / "labels.nii.gz") == 0
    subject = load(find(tmp_path / "labels.nii.gz"))
    labels = np.asarray(nibabel.load(tmp_path / "labels.nii.gz").dataobj)
    shown = nifti_of(subject.labels)
    np.testing.assert_array_equal(np.asarray(shown.dataobj), labels)
    np.testing.assert_allclose(shown.affine, AFFINE)
    image = np.asarray(nifti_of(subject.image).dataobj)
    np.testing.assert_array_equal(image, np.asarray(nibabel.load(scan).dataobj))
    (row,) = subject.table
    assert (row.name, row.value, row.voxels) == ("class1", 1, np.count_nonzero(labels == 1))
    assert row.ml == pytest.approx(row.voxels * 0.002)
    place = np.linalg.inv(AFFINE) @ [*row.at, 1]
    assert labels[tuple(np.rint(place[:3]).astype(int))] == 1


def test_a_case_of_a_folder_of_results(artifact, tmp_path):
    scans = tmp_path / "scans"
    scans.mkdir()
    for name in ("a", "b"):
        write_scan(scans / f"{name}.nii.gz", seed=ord(name))
    assert run(artifact, scans, "-o", tmp_path / "out") == 0
    assert find(tmp_path / "out", case="b").image == scans / "b.nii.gz"
    with pytest.raises(InputError, match="has 2 cases with a result: choose one with --case: a, b"):
        find(tmp_path / "out")
    with pytest.raises(InputError, match="choose one with --case"):
        find(tmp_path / "out", case="c")


def test_an_image_alone_and_whole_numbers_as_int16(tmp_path):
    scan = write_scan(tmp_path / "t1.nii.gz", dtype=np.int16)
    subject = load(find(scan))
    assert subject.table == ()
    assert subject.labels == b""
    assert nifti_of(subject.image).get_data_dtype() == np.int16


def test_a_dicom_series_as_the_image(artifact, tmp_path):
    pytest.importorskip("SimpleITK")
    from tests.runtime.imaging.dicom.small_series import VOXELS, write_small

    series = write_small(tmp_path / "series")
    assert run(artifact, series, "-o", tmp_path / "out") == 0
    subject = load(find(tmp_path / "out"))
    np.testing.assert_array_equal(np.asarray(nifti_of(subject.image).dataobj), VOXELS)


def test_labels_without_names_and_names_without_voxels():
    labels = np.zeros((3, 3, 3), np.uint16)
    labels[0, 0, 0] = 7
    rows = table_of(labels, np.eye(4), {"background": 0, "absent": 2})
    assert [(row.name, row.value, row.voxels, row.at) for row in rows] == [
        ("absent", 2, 0, None),
        ("label 7", 7, 1, (0.0, 0.0, 0.0)),
    ]


def test_what_cannot_be_shown(artifact, tmp_path, capsys):
    scan = write_scan(tmp_path / "t1.nii.gz")
    labels = tmp_path / "labels.nii.gz"
    assert run(artifact, scan, "-o", labels) == 0
    other = write_scan(tmp_path / "other.nii.gz", affine=np.diag([1, 1, 3, 1]))
    for found, said in (
        (lambda: find(labels, other), "affines differ"),
        (lambda: find(scan, scan), "no labels, expected whole numbers"),
        (lambda: find(tmp_path / "none.nii.gz", scan), "no label file"),
        (lambda: find(tmp_path / "none.txt"), "is no image and no result"),
        (lambda: find(labels, case="a"), "holds no report.json"),
    ):
        with pytest.raises(InputError, match=said):
            load(found())
    scan.unlink()
    assert main(["view", str(labels)]) == 1
    assert "give it with --image" in capsys.readouterr().err
    assert nibabel.load(labels).shape == SHAPE


def test_a_report_that_is_none(tmp_path):
    (tmp_path / "report.json").write_text(json.dumps([1]))
    with pytest.raises(InputError, match="is no report of msdk-rt run"):
        find(tmp_path)

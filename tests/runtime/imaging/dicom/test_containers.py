"""Folders with several series, zips, and what a zip may not hold."""

import shutil
import struct
import zipfile

import numpy as np
import pytest

from msdk_rt.errors import BackendError, InputError
from msdk_rt.imaging.dicom.container import open_container
from msdk_rt.imaging.dicom.study import holds_one_study
from msdk_rt.imaging.formats import is_image, open_image
from msdk_rt.imaging.volumes import read_volume
from tests.runtime.imaging.dicom.small_series import VOXELS, at, write_small
from tests.support.dicom_series import edit

pytest.importorskip("SimpleITK")


@pytest.fixture
def study(tmp_path):
    """Two series, in one folder and below another."""
    folder = tmp_path / "study"
    write_small(folder, prefix="a")
    other = write_small(
        folder / "below",
        series_uid="1.2.826.0.1.3680043.8.498.2",
        number=5,
        description="T2 FLAIR sag",
    )
    for path in other.glob("*.dcm"):
        edit(path, RescaleSlope=2, RescaleIntercept=1)
    return folder


def packed(folder, path, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for file in sorted(folder.rglob("*.dcm")):
            archive.write(file, file.relative_to(folder.parent))
    return path


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("choice", ["5", "*flair*", "T2 FLAIR sag", "1.2.826.0.1.3680043.8.498.2"])
def test_one_of_several_series(study, tmp_path, zipped, choice):
    path = packed(study, tmp_path / "study.zip") if zipped else study
    np.testing.assert_array_equal(open_image(path, choice=choice).voxels(), 2 * VOXELS + 1)
    np.testing.assert_array_equal(open_image(path, choice="3").voxels(), VOXELS)


def test_a_series_per_channel(study):
    volume = read_volume([study, study], ["t1", "flair"], choices=["3", "*flair*"])
    np.testing.assert_array_equal(2 * volume.data[0] + 1, volume.data[1])


@pytest.mark.parametrize(
    ("choice", "said"),
    [("", "holds 2 series"), ("*", "holds 2 series that"), ("9", "holds no series that --series names")],
)
def test_a_choice_that_names_not_one(study, choice, said):
    with pytest.raises(InputError, match=said) as caught:
        open_image(study, choice=choice)
    assert "series 3 (MR, 9 images of 7 x 6); series 5 (MR, 9 images of 7 x 6)" in str(caught.value)
    assert "FLAIR" not in str(caught.value)  # what an operator typed is shown by `msdk-rt series` alone


def test_a_choice_in_a_nifti_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="is no DICOM folder or zip"):
        open_image(tmp_path / "a.nii.gz", choice="3")


def test_one_study_or_several(study, tmp_path):
    assert holds_one_study(study)
    cohort = tmp_path / "cohort"
    shutil.copytree(study, cohort / "one")
    assert holds_one_study(cohort)
    write_small(cohort / "two", study_uid="1.2.826.0.1.3680043.8.498.10")
    assert not holds_one_study(cohort)


def test_a_zip_without_dicom_is_no_image(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("notes.txt", "nothing")
    assert not is_image(tmp_path / "a.zip")


def test_a_file_that_is_only_named_as_a_zip(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"PK" + bytes(100))
    with pytest.raises(InputError, match="is no zip that can be read"):
        open_image(tmp_path / "a.zip")


@pytest.mark.parametrize(
    "name", ["../evil.dcm", "/evil.dcm", "a/../../evil.dcm", "..\\evil.dcm", "C:\\evil.dcm"]
)
def test_a_member_that_leads_out(study, tmp_path, name):
    path = packed(study, tmp_path / "study.zip")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(name, b"x")
    with pytest.raises(InputError, match="leads out of its folder"):
        open_container(path)
    assert not list(tmp_path.parent.rglob("evil.dcm"))


def test_a_zip_bomb(tmp_path):
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.dcm", bytes(128) + b"DICM" + bytes(100 << 20))
    with pytest.raises(InputError, match="it is a zip bomb"):
        open_image(tmp_path / "bomb.zip")


def test_a_zip_that_lies_about_its_sizes(tmp_path):
    """The directory says that 100 MiB of zeros are 1,000 bytes."""
    path = tmp_path / "lies.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.dcm", bytes(128) + b"DICM" + bytes(100 << 20))
    content = bytearray(path.read_bytes())
    place = content.rindex(b"PK\x01\x02")
    content[place + 24 : place + 28] = struct.pack("<I", 1000)
    path.write_bytes(content)
    with pytest.raises(InputError, match="cannot be read"):
        open_image(path)


def test_an_encrypted_zip(study, tmp_path):
    path = packed(study, tmp_path / "study.zip")
    content = bytearray(path.read_bytes())
    for mark, offset in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):
        place = content.index(mark)
        content[place + offset] |= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match="is encrypted"):
        open_container(path)


def test_a_damaged_zip(study, tmp_path):
    path = packed(study, tmp_path / "study.zip", zipfile.ZIP_STORED)
    content = bytearray(path.read_bytes())
    content[900] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(InputError):
        open_image(path, choice="3").voxels()


def test_macos_and_hidden_members_are_passed_over(study, tmp_path):
    path = packed(study, tmp_path / "study.zip")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("__MACOSX/study/._a00001.dcm", b"x")
        archive.writestr("study/.DS_Store", b"x")
    np.testing.assert_array_equal(open_image(path, choice="3").voxels(), VOXELS)


def test_without_pydicom_the_message_says_what_to_install(study, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(BackendError, match=r"pip install 'msdk_rt\[dicom\]'"):
        open_image(study)


def test_one_file_of_a_series_is_one_slice(study):
    with pytest.warns(UserWarning, match="one slice: was the whole series meant"):
        volume = read_volume([at(study / "below", 2)])
    assert volume.space.shape == (7, 6, 1)

"""Series that are no volume: each is one sentence that says what to do, or a doubt."""

import shutil

import numpy as np
import pytest

from msdk_rt.artifact.notes import InputWarning
from msdk_rt.errors import InputError
from msdk_rt.imaging.dicom.container import open_container
from msdk_rt.imaging.formats import open_image
from msdk_rt.imaging.volumes import read_volume
from tests.runtime.imaging.dicom.small_series import AFFINE, SHAPE, STEP, VOXELS, at, position, write_small
from tests.support.dicom_series import edit, rotation

pytest.importorskip("SimpleITK")


def refused(path, choice=""):
    with pytest.raises(InputError) as caught:
        open_image(path, choice=choice).voxels()
    message = str(caught.value)
    assert "\n" not in message
    assert not any(secret in message for secret in ("SECRET", "1.2.826", "19500607", ".dcm"))
    return message


@pytest.fixture
def folder(tmp_path):
    return write_small(tmp_path / "series")


def test_the_series_itself_is_read(folder):
    np.testing.assert_array_equal(open_image(folder).voxels(), VOXELS)


def test_a_missing_slice(folder):
    at(folder, 4).unlink()
    assert "lacks 1 slice(s): between slices 4 and 5 of 8 lie 4 mm, elsewhere 2 mm" in refused(folder)


def test_two_slices_at_one_place(folder):
    edit(at(folder, 4), ImagePositionPatient=position(3))
    assert "has 1 place(s) with more than one slice" in refused(folder)


def test_two_volumes_in_one_series(folder, tmp_path):
    other = write_small(tmp_path / "other", series_uid="1.2.826.0.1.3680043.8.498.2")
    for slice_ in range(SHAPE[2]):
        edit(at(other, slice_), SeriesInstanceUID="1.2.826.0.1.3680043.8.498.1")
        shutil.copy(at(other, slice_), folder / f"echo{slice_}.dcm")
    assert "holds 2 volumes of 9 slices at the same places" in refused(folder)


def test_a_copied_file_counts_once(folder):
    shutil.copy(at(folder, 4), folder / "copy.dcm")
    np.testing.assert_array_equal(open_image(folder).voxels(), VOXELS)


def test_two_contents_under_one_identity(folder):
    shutil.copy(at(folder, 4), folder / "copy.dcm")
    edit(folder / "copy.dcm", RescaleSlope=2, RescaleIntercept=0)
    assert "and another content: remove one of them" in refused(folder)


def test_mixed_orientations(folder):
    turned = rotation(90, 0, 0)[:, :2].T.ravel()
    edit(at(folder, 2), ImageOrientationPatient=[f"{value:.6f}" for value in turned])
    assert "mixes orientations (1 of 9 slices are turned" in refused(folder)


@pytest.mark.parametrize("degrees", [3, 15])
def test_a_tilted_gantry(folder, degrees):
    shear = np.tan(np.radians(degrees)) * np.linalg.norm(STEP) * AFFINE[:3, 1] / np.linalg.norm(AFFINE[:3, 1])
    for slice_ in range(SHAPE[2]):
        place = AFFINE[:3, 3] + slice_ * (STEP + shear)
        edit(at(folder, slice_), ImagePositionPatient=[f"{value:.6f}" for value in place])
    assert f"gantry tilted by {degrees:.1f} degrees" in refused(folder)


def test_a_slice_that_is_shifted_in_its_plane(folder):
    place = AFFINE[:3, 3] + 5 * STEP + 0.5 * AFFINE[:3, 0]
    edit(at(folder, 5), ImagePositionPatient=[f"{value:.6f}" for value in place])
    assert "shifted against one another" in refused(folder)


def test_unequal_spacing(folder):
    edit(at(folder, 8), ImagePositionPatient=position(8.6))
    assert "has slices 2 to 3.2 mm apart, expected even steps" in refused(folder)


def test_slightly_unequal_spacing_is_a_warning(folder):
    edit(at(folder, 4), ImagePositionPatient=position(4.05))
    with pytest.warns(InputWarning, match=r"1\.9 to 2\.1 mm apart: they were taken for 2 mm"):
        read_volume([folder])


def test_colour(folder):
    edit(at(folder, 0), SamplesPerPixel=3, PhotometricInterpretation="RGB")
    assert "is in colour (RGB)" in refused(folder)


def test_a_picture_without_a_place(folder):
    edit(at(folder, 0), ImagePositionPatient=None)
    assert "lacks ImagePositionPatient: it is a picture" in refused(folder)


def test_frames_that_do_not_say_where_they_lie(folder):
    edit(at(folder, 0), NumberOfFrames=4)
    assert "has 4 frames and does not say where each lies" in refused(folder)


def test_sizes_that_differ(folder):
    edit(at(folder, 0), Rows=5)
    assert "images of 2 sizes (7 x 5, 7 x 6)" in refused(folder)


def test_spacings_that_differ(folder):
    edit(at(folder, 0), PixelSpacing=["1.2", "1"])
    assert "mixes pixel spacings" in refused(folder)


@pytest.mark.parametrize(
    "entries",
    [{"PixelSpacing": ["0", "1"]}, {"ImageOrientationPatient": ["1", "0", "0", "1", "0", "0"]}],
)
def test_geometry_that_cannot_be(folder, entries):
    edit(at(folder, 3), **entries)
    assert "cannot be: export the series again" in refused(folder)


def test_a_rescale_slope_of_zero(folder):
    edit(at(folder, 3), RescaleSlope=0, RescaleIntercept=1)
    assert "erases its voxels" in refused(folder)


def test_a_mosaic(folder):
    edit(at(folder, 3), ImageType=["ORIGINAL", "PRIMARY", "M", "MOSAIC"])
    assert "is a mosaic of slices" in refused(folder)


@pytest.mark.parametrize("kept", [0, 100, 140, 700, -8])
def test_a_truncated_file(folder, kept):
    path = at(folder, 3)
    path.write_bytes(path.read_bytes()[:kept])
    refused(folder)


def test_no_dicom_at_all(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing here")
    assert "it is a folder" in refused(tmp_path)
    with pytest.raises(InputError, match="holds no DICOM file"):
        open_container(tmp_path)


def test_other_files_are_passed_over(folder):
    (folder / "notes.txt").write_text("a text " * 50)
    (folder / ".hidden.dcm").write_text("x")
    np.testing.assert_array_equal(open_image(folder).voxels(), VOXELS)


def test_pixel_padding_and_unused_bits(folder):
    """Twelve bits are used; what an overlay keeps in the other four is no part of a voxel."""
    import pydicom

    for slice_ in range(SHAPE[2]):
        dataset = pydicom.dcmread(at(folder, slice_))
        dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 12, 11, 0
        voxels = np.abs(VOXELS[:, :, slice_].T.astype(np.uint16)) & 0x0FFF
        dataset.PixelData = (voxels | 0xA000).tobytes()
        dataset.save_as(at(folder, slice_))
    np.testing.assert_array_equal(open_image(folder).voxels(), VOXELS.astype(np.uint16) & 0x0FFF)

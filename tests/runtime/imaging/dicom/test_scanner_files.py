"""Files of real scanners, as pydicom's own tests have them: read as others read them, or refused in words."""

import shutil
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest

from msdk_rt.commands.main import main
from msdk_rt.errors import InputError
from msdk_rt.imaging.formats import open_image
from tests.support.geometries import by_dcm2niix, by_simpleitk, differences

pytest.importorskip("SimpleITK")
FILES = Path(pydicom.__file__).parent / "data" / "test_files"
STUDIES = FILES / "dicomdirtests"
pytestmark = pytest.mark.skipif(not STUDIES.is_dir(), reason="this pydicom comes without its test files")
PILOT = "1.3.6.1.4.1.5962.1.1.0.0.0.1196533885.18148.0.17"


def copied(folder, to):
    """The files of a folder with the suffix that others look for."""
    to.mkdir()
    for path in folder.iterdir():
        shutil.copy(path, to / f"{path.name}.dcm")
    return to


def test_a_ct_of_a_ge_scanner(tmp_path):
    folder = copied(STUDIES / "98892001" / "CT5N", tmp_path / "series")
    image = open_image(folder)
    ours = nibabel.Nifti1Image(image.voxels(), image.affine)
    assert ours.shape == (16, 16, 5)
    assert not image.doubts
    for theirs in (by_simpleitk(folder), by_dcm2niix(folder, tmp_path / "theirs")):
        assert differences(ours, theirs) == (pytest.approx(0, abs=1e-3), pytest.approx(0, abs=1e-3))


@pytest.mark.parametrize(
    "name", ["CT_small.dcm", "MR_small.dcm", "MR_small_RLE.dcm", "MR_small_bigendian.dcm"]
)
def test_one_slice_of_a_scanner_is_read_with_a_doubt(name):
    image = open_image(FILES / name)
    stored = pydicom.dcmread(FILES / name)
    values = stored.pixel_array * float(stored.get("RescaleSlope", 1)) + float(
        stored.get("RescaleIntercept", 0)
    )
    np.testing.assert_array_equal(np.sort(image.voxels().ravel()), np.sort(values.ravel()).astype(np.float32))
    assert "is one slice" in image.doubts[0]


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("dicomdirtests/77654033/CR1", "lacks ImagePositionPatient"),
        ("dicomdirtests/77654033/CT2", r"lacks 161 slice\(s\): between slices 1 and 2 of 4 lie 202 mm"),
        ("dicomdirtests/98892001/CT2N", "mixes orientations"),
        ("dicomdirtests/98892003/MR700", "mixes orientations"),
        ("dicomdirtests/98892003/MR2", "holds 3 series: .*NUMBER, 'DESCRIPTION' or UID"),
        ("rtplan.dcm", "holds no series of images"),
        ("ExplVR_BigEnd.dcm", "is in colour"),
        ("JPEG2000.dcm", "lacks ImagePositionPatient"),
    ],
)
def test_what_is_no_volume_is_refused(place, message):
    with pytest.raises(InputError, match=message):
        open_image(FILES / place)


def test_series_that_share_number_and_description_have_their_uid_shown(capsys):
    """A Philips study made two pilots, both number 2 and described alike."""
    folder = STUDIES / "98892003" / "MR2"
    assert main(["series", str(folder)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sorted(line.partition(": ")[2] for line in lines) == [
        "FAST LOCALIZER",
        f"T/S/C RF FAST PILOT, UID {PILOT[:-2]}136",
        f"T/S/C RF FAST PILOT, UID {PILOT}",
    ]
    with pytest.raises(InputError, match="mixes orientations"):  # it is found, and is a pilot
        open_image(folder, series=True, choice=PILOT)

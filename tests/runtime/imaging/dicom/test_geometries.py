"""The MNI152 head as series of many geometries, against dcm2niix, SimpleITK and our NIfTI path."""

import nibabel
import numpy as np
import pytest

from msdk_rt.imaging.formats import open_image
from msdk_rt.segmenter import Segmenter
from tests.support.geometries import (
    GEOMETRIES,
    by_dcm2niix,
    by_simpleitk,
    differences,
    write_geometry,
)
from tests.support.small_model import write_artifact

pytest.importorskip("SimpleITK")
MILLIMETRE = 1e-3  # of the corners of a head 200 mm wide; positions are written with six digits
# Found here: one rescale is taken for every frame of an enhanced file.
SIMPLEITK_WRONG = {"enhanced, rescaled by frame"}


@pytest.fixture(scope="module")
def head():
    """Whole numbers at 4 mm, 50 x 59 x 48."""
    from nilearn.datasets import load_mni152_template

    image = nibabel.as_closest_canonical(load_mni152_template(resolution=2)).slicer[::2, ::2, ::2]
    voxels = np.asarray(image.dataobj)
    return nibabel.Nifti1Image((1000 * voxels / voxels.max()).astype(np.int16), image.affine)


@pytest.mark.parametrize("name", GEOMETRIES)
def test_a_series_is_read_as_it_was_written(name, head, tmp_path):
    """The writer knows the truth; two readers that share no code with ours, and our NIfTI path, agree."""
    folder = tmp_path / "series"
    expected = write_geometry(folder, head, GEOMETRIES[name])
    image = open_image(folder)
    ours = nibabel.Nifti1Image(image.voxels(), image.affine)
    assert differences(ours, expected) == (pytest.approx(0, abs=MILLIMETRE), 0)
    assert not image.doubts

    right = (pytest.approx(0, abs=MILLIMETRE), pytest.approx(0, abs=1e-3))
    assert differences(ours, by_dcm2niix(folder, tmp_path / "theirs")) == right
    assert (differences(ours, by_simpleitk(folder)) == right) == (name not in SIMPLEITK_WRONG)

    nifti = tmp_path / "same.nii.gz"
    nibabel.save(expected, nifti)
    model = write_artifact(tmp_path / "model.onnx", window=(32, 32, 32))
    with Segmenter(model) as segmenter:
        from_dicom, from_nifti = segmenter.run(folder), segmenter.run(nifti)
    assert len(np.unique(from_dicom.labels)) > 1
    labels = [nibabel.Nifti1Image(found.labels, found.space.affine) for found in (from_dicom, from_nifti)]
    assert differences(*labels) == (pytest.approx(0, abs=MILLIMETRE), 0)

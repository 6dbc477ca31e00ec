"""Voxels far from those that a model knows are a warning, whichever axis they are far along."""

import json
import warnings

import nibabel
import numpy as np
import pytest

from msdk_rt import InputWarning, Segmenter
from msdk_rt.artifact.manifest import manifest_path, read_manifest
from msdk_rt.cohort.records import model_of
from msdk_rt.commands.main import main
from msdk_rt.imaging.space import Space
from tests.support.small_model import describe, write_artifact

KNOWN = {"low": [1.0, 1.0, 1.0], "high": [1.0, 1.0, 3.0]}


def scan(path, affine):
    voxels = np.random.default_rng(0).gamma(2, 100, (9, 8, 7)).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(voxels, affine), path)
    return path


def warned(segmenter, given):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        segmenter.run(given)
    return [str(warning.message) for warning in caught if warning.category is InputWarning]


TURNED = np.array([[0, 0, 5, 0], [1, 0, 0, 0], [0, -2, 0, 0], [0, 0, 0, 1.0]])


@pytest.mark.parametrize(
    ("affine", "orientation", "spacing"),
    [
        (np.diag([1, 2, 3, 1.0]), "RAS", (1, 2, 3)),
        (np.diag([-1, -2, 3, 1.0]), "RAS", (1, 2, 3)),
        (np.diag([1, 2, 3, 1.0]), "SAR", (3, 2, 1)),
        (np.diag([1, 2, 3, 1.0]), "PIL", (2, 3, 1)),
        (TURNED, "RAS", (5, 1, 2)),
        (TURNED, "SRA", (2, 5, 1)),
    ],
)
def test_spacing_is_along_the_models_axes(affine, orientation, spacing):
    assert Space(affine, (4, 5, 6), orientation).spacing == spacing


@pytest.mark.parametrize(
    ("sides", "far"),
    [
        ((1, 1, 1), False),
        ((1, 1, 6), False),
        ((2, 2, 0.5), False),
        ((0.5, 0.5, 0.5), False),
        ((6, 6, 6), True),
        ((1, 1, 6.1), True),
        ((1, 2.1, 3), True),
        ((3, 1, 1), True),
        ((0.49, 1, 1), True),
        ((1, 1, 0.4), True),
    ],
)
def test_a_factor_of_two_outside_is_far(tmp_path, sides, far):
    with Segmenter(write_artifact(tmp_path / "model.onnx", spacing=KNOWN)) as segmenter:
        said = warned(segmenter, scan(tmp_path / "scan.nii", np.diag([*sides, 1])))
    assert len(said) == far
    if far:
        assert "and the model was trained or checked with 1 x 1 x 1 to 1 x 1 x 3 mm" in said[0]


def test_slices_along_another_axis_are_far(tmp_path):
    """3 mm is known, but not from left to right."""
    with Segmenter(write_artifact(tmp_path / "model.onnx", spacing=KNOWN)) as segmenter:
        sagittal = np.array([[0, 0, 3, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1.0]])
        assert len(warned(segmenter, scan(tmp_path / "sagittal.nii", sagittal))) == 1
        axial = np.diag([1, 1, 3, 1.0])
        assert warned(segmenter, scan(tmp_path / "axial.nii", axial)) == []


def test_a_model_that_knows_none_and_an_array_are_not_warned_of(tmp_path):
    file = scan(tmp_path / "scan.nii", np.diag([6, 6, 6, 1.0]))
    with Segmenter(write_artifact(tmp_path / "plain.onnx")) as segmenter:
        assert warned(segmenter, file) == []
    with Segmenter(write_artifact(tmp_path / "model.onnx", spacing=KNOWN)) as segmenter:
        assert warned(segmenter, nibabel.load(file).get_fdata()[None]) == []


def test_the_report_of_a_run_has_it(tmp_path, capsys):
    model = write_artifact(tmp_path / "model.onnx", spacing=KNOWN)
    file = scan(tmp_path / "scan.nii", np.diag([6, 6, 6, 1.0]))
    arguments = ["run", str(model), str(file), "-o", str(tmp_path / "out.nii"), "--json", "--quiet"]
    assert main(arguments) == 0
    out, err = capsys.readouterr()
    (case,) = json.loads(out)["cases"]
    assert ["its voxels have 6 x 6 x 6 mm" in sentence for sentence in case["warnings"]] == [True]
    assert "its labels may be wrong" in err


def test_the_manifest_keeps_it_and_says_nothing_where_nobody_knows(tmp_path, capsys):
    plain = write_artifact(tmp_path / "plain.onnx")
    known = write_artifact(tmp_path / "known.onnx", spacing=KNOWN)
    assert "spacing" not in json.loads(manifest_path(plain).read_text())
    assert json.loads(manifest_path(known).read_text())["spacing"] == KNOWN
    assert read_manifest(plain).spacing is None
    assert read_manifest(known).spacing == KNOWN
    assert main(["info", str(plain)]) == main(["info", str(known)]) == 0
    out = capsys.readouterr().out
    assert "spacing           not known\n" in out
    assert "spacing           1 x 1 x 1 to 1 x 1 x 3 mm\n" in out


def test_it_shapes_no_result(tmp_path):
    """A record of a result does not count it, so that one made before the manifest had it is kept."""
    path = write_artifact(tmp_path / "model.onnx")
    assert model_of(read_manifest(path)) == model_of(describe(path, spacing=KNOWN))

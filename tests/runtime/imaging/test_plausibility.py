"""A result whose volumes are implausible for the model is a warning, in the report too."""

import json
import warnings

import nibabel
import numpy as np
import pytest

from msdk_rt import InputWarning, Segmenter
from msdk_rt.commands.main import main
from msdk_rt.imaging.described import Described
from msdk_rt.imaging.plausibility import warn_of_volumes
from msdk_rt.imaging.results import Segmentation
from msdk_rt.imaging.space import Space
from tests.support.small_model import write_artifact


def segmentation(ml, spacing=1.0):
    """A result of a file with so many millilitres of label 2."""
    labels = np.zeros((20, 20, 20), np.uint8)
    labels.flat[: round(1000 * ml / spacing**3)] = 2
    affine = np.diag([spacing, spacing, spacing, 1.0])
    return Segmentation(labels, space=Space(affine, labels.shape), described=Described({"air": 0, "grey": 2}))


def sentences(result, plausible):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn_of_volumes(result, plausible)
    assert all(warning.category is InputWarning for warning in caught)
    return [str(warning.message) for warning in caught]


@pytest.mark.parametrize(("ml", "odd"), [(2, False), (5, False), (3, False), (1, True), (6, True), (0, True)])
def test_a_volume_outside_its_limits_is_named(ml, odd):
    found = sentences(segmentation(ml), {"grey": [2, 5]})

    assert len(found) == odd
    if odd:
        assert f"{ml} ml of grey (expected 2 to 5)" in found[0]
        assert "look at the result" in found[0]


def test_volumes_are_millilitres_whatever_the_voxel():
    assert not sentences(segmentation(8, spacing=2.0), {"grey": [7.9, 8.1]})


def test_a_model_without_the_rule_warns_of_nothing():
    assert not sentences(segmentation(0), None)
    assert not sentences(segmentation(0), {})


def test_the_warning_is_in_the_report(tmp_path, capsys):
    """From the manifest to the report of a run."""
    labels = {"class0": 0, "class1": 1}
    model = write_artifact(
        tmp_path / "model.onnx", 1, 2, (8, 6, 7), labels=labels, plausible_ml={"class1": [100, 200]}
    )
    voxels = np.random.default_rng(0).gamma(2, 100, (9, 8, 7)).astype(np.float32)
    scan = tmp_path / "scan.nii.gz"
    nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), scan)
    with Segmenter(model) as segmenter, pytest.warns(InputWarning, match="ml of class1 .expected 100 to 200"):
        segmenter.run(scan)

    assert main(["run", str(model), str(scan), "-o", str(tmp_path / "labels.nii.gz"), "--json"]) == 0
    assert "ml of class1 (expected 100 to 200)" in json.dumps(json.loads(capsys.readouterr().out))

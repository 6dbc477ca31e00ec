"""From a results folder to a segmented folder on the command line, beside nnUNetv2_predict's own output."""

import json
import pickle
from unittest.mock import patch

import nibabel
import numpy as np
import pytest
import torch

from msdk_rt.commands.main import main
from tests.support import nnunet_folder as made
from tests.support.nnunet_models import REGIONS, ZSCORE


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A results folder, scans for it, a model exported from it, and what nnU-Net makes of the scans."""
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    place = tmp_path_factory.mktemp("commands")
    plan = made.plans(schemes=[ZSCORE], spacing=(1.2, 1.0, 1.0), patch=(8, 16, 16))
    results = made.write_folder(place / "nnUNetTrainer__nnUNetPlans__3d_fullres", plan, made.dataset())
    for name, seed in (("ball", 1), ("ball_0001x", 2)):
        made.write_case(place / "imagesTs", name, *made.head(seed, (20, 18, 16), (1.0, 1.1, 1.5)))
    assert main(["export", str(results), str(place / "model.onnx"), "--folds", "0", "--quiet"]) == 0
    predictor = nnUNetPredictor(use_mirroring=True, device=torch.device("cpu"), allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(str(results), (0,))
    (place / "theirs").mkdir()
    predictor.predict_from_files_sequential(
        str(place / "imagesTs"), str(place / "theirs"), save_probabilities=True
    )
    yield place
    torch.set_num_threads(before)


def run(folder, out, *arguments):
    inputs = [str(folder / "model.onnx"), str(folder / "imagesTs"), "-o", str(out), "--threads", "1"]
    return main(["run", *inputs, "--quiet", *arguments])


def labels_in(folder):
    return {path.name: np.asarray(nibabel.load(path).dataobj) for path in folder.glob("*.nii.gz")}


def test_results_have_nnunets_names_and_labels(folder, tmp_path):
    assert run(folder, tmp_path / "ours") == 0
    ours, theirs = labels_in(tmp_path / "ours"), labels_in(folder / "theirs")
    assert sorted(ours) == sorted(theirs) == ["ball.nii.gz", "ball_0001x.nii.gz"]
    for name, expected in theirs.items():
        assert np.count_nonzero(ours[name] != expected) <= 2
        ours_at, theirs_at = (nibabel.load(path / name) for path in (tmp_path / "ours", folder / "theirs"))
        np.testing.assert_allclose(ours_at.affine, theirs_at.affine, atol=1e-5)


def test_nnunets_ensemble_takes_ours(folder, tmp_path):
    from nnunetv2.ensembling import ensemble

    assert run(folder, tmp_path / "ours", "--save-probabilities") == 0
    mine, own = (
        np.load(path / "ball.npz")["probabilities"] for path in (tmp_path / "ours", folder / "theirs")
    )
    assert mine.dtype == np.float32
    assert mine.shape == own.shape
    assert np.percentile(np.abs(mine - own), 99) < 0.02
    properties = pickle.loads((tmp_path / "ours" / "ball.pkl").read_bytes())
    theirs = pickle.loads((folder / "theirs" / "ball.pkl").read_bytes())
    for name in ("spacing", "origin", "direction"):
        np.testing.assert_allclose(properties["sitk_stuff"][name], theirs["sitk_stuff"][name], atol=1e-5)
    np.testing.assert_allclose(properties["spacing"], theirs["spacing"])

    with patch.object(ensemble.multiprocessing, "get_context", lambda kind: InProcess()):
        for first, second in ((tmp_path / "ours", folder / "theirs"), (folder / "theirs", tmp_path / "ours")):
            out = tmp_path / f"of {first.name}"
            ensemble.ensemble_folders([str(first), str(second)], str(out))
            merged = labels_in(out)
            for name, expected in labels_in(folder / "theirs").items():
                assert np.count_nonzero(merged[name] != expected) <= 3


class InProcess:
    """A pool of processes that is this one."""

    def Pool(self, count):
        return self

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        pass

    def starmap(self, function, arguments):
        return [function(*one) for one in arguments]


def test_mirroring_is_on_as_the_model_says(folder, tmp_path):
    assert run(folder, tmp_path / "a") == run(folder, tmp_path / "b", "--no-mirror") == 0
    settings = [
        json.loads((tmp_path / name / "ball.nii.gz.json").read_text())["Provenance"]["settings"]
        for name in ("a", "b")
    ]
    assert [entry["mirror_axes"] for entry in settings] == [[0, 1, 2], []]


def test_info_says_the_recipe(folder, capsys):
    assert main(["info", str(folder / "model.onnx")]) == 0
    said = capsys.readouterr().out
    for words in (
        "window            8 x 16 x 16 voxels, the file's own axes Z, Y, X",
        "normalisation     mean 0 and deviation 1 of the voxels that were kept",
        "crop              to the voxels that are not 0 in some channel; labels are 0 outside",
        "resampling        to 1.2 x 1 x 1 mm, cubic, planes by themselves where a voxel is more than 3 times",
        "sums              of windows in float16, as nnU-Net adds them up",
        "mirroring         along D, H, W: 8 times the work; --no-mirror leaves it out",
        "folds             0\n",
        "results           <case>.nii.gz",
        "blending          gaussian, as nnunet",
    ):
        assert words in said


def test_another_dataset_json_is_not_replaced(folder, tmp_path, capsys):
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours" / "dataset.json").write_text("{}")
    assert run(folder, tmp_path / "ours", "--save-probabilities") == 1
    assert "dataset.json is there and another one than this model's" in capsys.readouterr().err
    assert (tmp_path / "ours" / "dataset.json").read_text() == "{}"


def test_regions_and_endings_reach_the_results(tmp_path):
    plan = made.plans(patch=(8, 16, 16), reader="NibabelIOWithReorient")
    results = made.write_folder(
        tmp_path / "nnUNetTrainer__p__3d_fullres",
        plan,
        made.dataset(**REGIONS, file_ending=".nii"),
        steps=5,
        mirror_axes=None,
    )
    voxels, affine = made.head(3, (12, 16, 18), (1.0, 1.0, 1.5), affine=np.diag([-1.0, 1.0, -1.0]))
    (tmp_path / "scans").mkdir()
    nibabel.save(nibabel.Nifti1Image(voxels[0], affine), tmp_path / "scans" / "a_0000.nii")
    assert main(["export", str(results), str(tmp_path / "model.onnx"), "--quiet"]) == 0
    arguments = [str(tmp_path / "model.onnx"), str(tmp_path / "scans"), "-o", str(tmp_path / "out")]
    assert main(["run", *arguments, "--save-probabilities", "--quiet"]) == 0

    assert (tmp_path / "out" / "a.nii").exists()
    described = json.loads((tmp_path / "out" / "dataset.json").read_text())
    assert described["labels"] == REGIONS["labels"] | {"inner": [3]}
    assert described["regions_class_order"] == [1, 2, 3]
    maps = np.load(tmp_path / "out" / "a.npz")["probabilities"]
    assert maps.shape == (3, 18, 16, 12)
    labels = np.asarray(nibabel.load(tmp_path / "out" / "a.nii").dataobj)
    inner = maps[2, ::-1, :, ::-1].transpose(2, 1, 0) > 0.5
    np.testing.assert_array_equal(labels == 3, inner)


def test_probabilities_for_nnunet_are_for_its_models(tmp_path, capsys):
    from tests.support.small_model import write_artifact

    made.write_case(tmp_path / "scans", "a", *made.head(1, (9, 10, 11)))
    model = write_artifact(tmp_path / "model.onnx")
    arguments = [str(model), str(tmp_path / "scans"), "-o", str(tmp_path / "out"), "--save-probabilities"]
    assert main(["run", *arguments, "--quiet"]) == 1
    assert "for models that were exported from its results folders" in capsys.readouterr().err

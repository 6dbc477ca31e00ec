"""Folders of .mha, .nrrd and .gipl cases through `msdk-rt run`, beside what nnU-Net writes for them."""

import json
import sys

import numpy as np
import pytest
import SimpleITK
import torch

from msdk_rt.commands.main import main
from tests.support import nnunet_folder as made
from tests.support.nnunet_models import oblique

CASES = {"flat": ((22, 20, 16), (1.0, 0.9, 1.4), 1), "thick": ((26, 24, 8), (0.8, 0.8, 4.5), 2)}
TURNED = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
DIRECTIONS = {".mha": oblique(20), ".nrrd": TURNED, ".gipl": np.eye(3)}


@pytest.fixture(scope="module", params=DIRECTIONS)
def folder(request, tmp_path_factory):
    """A results folder of files with this ending, scans, a model exported from it, nnU-Net's own results."""
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    place = tmp_path_factory.mktemp("itk")
    plan = made.plans(spacing=(1.5, 1.0, 1.0), patch=(8, 16, 16))
    data = made.dataset(file_ending=request.param)
    results = made.write_folder(place / "nnUNetTrainer__nnUNetPlans__3d_fullres", plan, data)
    (place / "imagesTs").mkdir()
    for name, (shape, spacing, seed) in CASES.items():
        voxels, _ = made.head(seed, shape, spacing)
        image = SimpleITK.GetImageFromArray(np.ascontiguousarray(voxels[0].T.astype(np.int16)))
        image.SetSpacing(spacing)
        image.SetOrigin((-10.5, 5.25, 3.0))
        image.SetDirection(DIRECTIONS[request.param].ravel().tolist())
        SimpleITK.WriteImage(image, str(place / "imagesTs" / f"{name}_0000{request.param}"))
    assert main(["export", str(results), str(place / "model.onnx"), "--folds", "0", "--quiet"]) == 0
    predictor = nnUNetPredictor(use_mirroring=True, device=torch.device("cpu"), allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(str(results), (0,))
    (place / "theirs").mkdir()
    predictor.predict_from_files_sequential(str(place / "imagesTs"), str(place / "theirs"))
    yield place, request.param
    torch.set_num_threads(before)


def run(place, out, *arguments):
    inputs = [str(place / "model.onnx"), str(place / "imagesTs"), "-o", str(out), "--threads", "1"]
    return main(["run", *inputs, "--quiet", *arguments])


@pytest.mark.filterwarnings("ignore:.*does not say its orientation")
def test_results_have_nnunets_names_labels_and_places(folder, tmp_path):
    place, ending = folder
    assert run(place, tmp_path / "ours", "--save-probabilities") == 0
    written = sorted(path.name for path in (tmp_path / "ours").glob(f"*{ending}"))
    assert written == sorted(path.name for path in (place / "theirs").glob(f"*{ending}"))
    assert written == [f"{name}{ending}" for name in CASES]
    for name in written:
        mine, expected = (
            SimpleITK.ReadImage(str(path / name)) for path in (tmp_path / "ours", place / "theirs")
        )
        for entry in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection", "GetPixelIDTypeAsString"):
            assert getattr(mine, entry)() == getattr(expected, entry)()
        labels, others = map(SimpleITK.GetArrayFromImage, (mine, expected))
        assert np.count_nonzero(others) > 0
        assert np.count_nonzero(labels != others) <= 1
    assert json.loads((tmp_path / "ours" / "dataset.json").read_text())["file_ending"] == ending

    record = json.loads((tmp_path / "ours" / f"thick{ending}.json").read_text())["Provenance"]
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "ours").glob(f"*{ending}")}
    assert run(place, tmp_path / "ours", "--save-probabilities") == 0
    assert before == {path: path.stat().st_mtime_ns for path in before}
    assert record["spacing_mm"] == [0.8, 0.8, 4.5]


@pytest.mark.filterwarnings("ignore:.*does not say its orientation")
def test_results_can_be_nifti_files(folder, tmp_path):
    place, ending = folder
    assert run(place, tmp_path / "ours", "--format", "nii.gz") == 0
    for name in CASES:
        mine, expected = (
            SimpleITK.ReadImage(str(path))
            for path in (tmp_path / "ours" / f"{name}.nii.gz", place / "theirs" / f"{name}{ending}")
        )
        for entry in ("GetSpacing", "GetOrigin", "GetDirection"):
            np.testing.assert_allclose(getattr(mine, entry)(), getattr(expected, entry)(), atol=1e-5)
        differing = SimpleITK.GetArrayFromImage(mine) != SimpleITK.GetArrayFromImage(expected)
        assert np.count_nonzero(differing) <= 1


def test_a_missing_extra_is_told_before_anything_runs(folder, tmp_path, capsys, monkeypatch):
    place, _ = folder
    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    assert run(place, tmp_path / "ours") == 1
    (told,) = capsys.readouterr().err.splitlines()
    assert "files need SimpleITK, which is not installed: pip install 'msdk_rt[itk]'" in told
    assert not (tmp_path / "ours").exists()

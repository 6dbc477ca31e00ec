"""Our labels against nnUNetPredictor's, on networks that were trained, over images of many kinds."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import msdk_rt
from msdk_rt.artifact.manifest import read_manifest, write_manifest
from tests.support import nnunet_folder as made
from tests.support.nnunet_models import (
    CASES,
    Models,
    doubt,
    explained_differences,
    nnunet_labels,
    write_image,
)
from tests.support.nnunet_summing import nnunet_predictor

LEAST = 0.9999
ROUNDING = 1e-5  # of a probability, by sums in float32
WITH_OTHER_SUMS = (
    "same spacing, mirrored",
    "below the separate z threshold",
    "ct, mirrored",
    "2d, resampled",
)
WITH_OTHER_SUMS += ("regions, resampled", "folds", "turned, oblique, mirrored", "5 mm")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield Models(tmp_path_factory.mktemp("nnunet"))
    torch.set_num_threads(before)


@pytest.mark.parametrize("name", CASES)
def test_labels_are_those_of_nnunet(name, models, tmp_path):
    image = CASES[name]
    paths = write_image(tmp_path, image, "case", seed=len(name))
    expected, _ = nnunet_labels(models.predictor(image.model, image.mirror), paths)
    axes = None if image.mirror else ()

    with msdk_rt.Segmenter(models.artifact(image.model), mirror_axes=axes, threads=1) as segmenter:
        result = segmenter.run(paths, return_probabilities=True)

    foreground = np.count_nonzero((result.labels > 0) | (expected > 0))
    differing = explained_differences(result, expected, paths, "regions" in name)
    print(f"{name}: {differing} of {expected.size} voxels differ, foreground {foreground}")
    assert foreground > 0
    assert differing <= (1 - LEAST) * expected.size + 2
    assert differing <= (1 - LEAST) * foreground + 1


@pytest.mark.parametrize("name", WITH_OTHER_SUMS)
def test_labels_are_those_of_nnunet_with_sums_in_float32(name, models, tmp_path):
    """Sums of other models beside nnU-Net's own code with these: no voxel is left, in the corners neither."""
    image = CASES[name]
    paths = write_image(tmp_path, image, "case", seed=len(name))
    expected, _ = nnunet_labels(models.predictor(image.model, image.mirror, torch.float32), paths)
    axes = None if image.mirror else ()
    artifact = with_sums(models.artifact(image.model), None, tmp_path)
    with msdk_rt.Segmenter(artifact, mirror_axes=axes, threads=1) as segmenter:
        result = segmenter.run(paths, return_probabilities=True)
    differ = result.labels != expected
    assert all(doubt(result.probabilities[:, differ], "regions" in name) < ROUNDING)


def with_sums(artifact, sums, folder):
    """A copy of an artifact whose manifest names other sums."""
    copied = Path(shutil.copy(artifact, folder))
    write_manifest(copied, replace(read_manifest(artifact), sums=sums))
    return copied


@pytest.fixture(scope="module", params=[(0,), (0, 1, 2)], ids=["one fold", "three folds"])
def twins(request, tmp_path_factory):
    """A results folder and its artifact, whose networks hold two classes for almost equally likely."""
    folder = made.write_folder(
        tmp_path_factory.mktemp("twins") / "nnUNetTrainer__nnUNetPlans__conf",
        made.plans(spacing=(1.2, 1.0, 1.0)),
        made.dataset(),
        folds=request.param,
    )
    for fold in request.param:
        path = folder / f"fold_{fold}" / "checkpoint_final.pth"
        checkpoint = torch.load(path, weights_only=False)
        heads = [tensor for name, tensor in checkpoint["network_weights"].items() if "seg_layers" in name]
        for tensor in heads:
            tensor[2] = tensor[1] * (1 + 2**-11)
        assert heads
        torch.save(checkpoint, path)
    artifact = folder.parent / "model.onnx"
    msdk_rt.export(folder, artifact)
    return folder, artifact


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.2), (0.8, 1.1, 1.0)])
def test_where_rounding_decides_it_is_nnunets(mirror, spacing, twins, tmp_path):
    """All labels hang on the rounding of sums. PyTorch's logits differ from ours by a thousandth of that, and
    few labels may; with sums in float32 far more do.
    """
    folder, artifact = twins
    paths = made.write_case(tmp_path, "case", *made.head(9, (34, 29, 27), spacing, 1))
    predictor = nnunet_predictor(mirror=mirror)
    predictor.initialize_from_trained_model_folder(str(folder), None)
    expected, _ = nnunet_labels(predictor, paths)
    foreground = expected > 0

    def alike(model):
        with msdk_rt.Segmenter(model, mirror_axes=None if mirror else ()) as segmenter:
            labels = segmenter.run(paths).labels
        return np.mean(labels[foreground] == expected[foreground])

    in_half, in_float32 = alike(artifact), alike(with_sums(artifact, "float32", tmp_path))
    print(f"of {np.count_nonzero(foreground)} alike {in_half:.4%}, with sums in float32 {in_float32:.4%}")
    assert np.isin([1, 2], expected).all()
    assert in_half >= 0.99
    assert in_float32 < 0.9

"""Our labels against nnUNetPredictor's, on networks that were trained, over images of many kinds."""

import numpy as np
import pytest
import torch

import msdk_rt
from tests.support.nnunet_models import (
    CASES,
    Models,
    doubt,
    explained_differences,
    nnunet_labels,
    write_image,
)

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


@pytest.mark.parametrize("name", WITH_OTHER_SUMS)
def test_labels_are_those_of_nnunet_with_sums_in_float32(name, models, tmp_path):
    """What differs otherwise is float16's doing: no voxel is left, in the corners neither."""
    image = CASES[name]
    paths = write_image(tmp_path, image, "case", seed=len(name))
    expected, _ = nnunet_labels(models.predictor(image.model, image.mirror, torch.float32), paths)
    axes = None if image.mirror else ()
    with msdk_rt.Segmenter(models.artifact(image.model), mirror_axes=axes, threads=1) as segmenter:
        result = segmenter.run(paths, return_probabilities=True)
    differ = result.labels != expected
    assert all(doubt(result.probabilities[:, differ], "regions" in name) < ROUNDING)

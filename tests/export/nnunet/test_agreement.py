"""Our labels against nnUNetPredictor's, on networks that were trained, over images of many kinds.

nnU-Net adds up weighted windows in float16. That decides labels of which the network is in doubt, and moves
logits in the corners of the volume by more: one window alone covers those, with weights near 6e-8, which is
the smallest number of float16.
"""

import nibabel
import numpy as np
import pytest
import torch

import msdk_rt
from msdk_rt.inference.foreground import nonzero_box
from tests.support.nnunet_models import CASES, Models, nnunet_labels, write_image

LEAST = 0.9999
DOUBT = 0.02  # of a probability
CORNER = 3  # voxels


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

    found, differ = result.labels, result.labels != expected
    differing, foreground = np.count_nonzero(differ), np.count_nonzero((found > 0) | (expected > 0))
    print(f"{name}: {differing} of {found.size} voxels differ, foreground {foreground}")
    assert found.shape == expected.shape
    assert foreground > 0
    assert differing <= (1 - LEAST) * found.size + 2
    doubts = doubt(result.probabilities[:, differ], "regions" in name)
    corners = in_corner(np.argwhere(differ), paths)
    for where, value, corner in zip(np.argwhere(differ), doubts, corners, strict=True):
        print(f"voxel {where}: {value:.5f} decides its label{', in a corner' if corner else ''}")
    assert all((doubts < DOUBT) | corners)


def in_corner(voxels, paths):
    """Whether voxels lie in a corner of the box around what is not 0."""
    image = np.stack([nibabel.load(path).get_fdata() for path in paths])
    box = nonzero_box(image)
    inside = [
        np.minimum(voxels[:, axis] - side.start, side.stop - 1 - voxels[:, axis])
        for axis, side in enumerate(box)
    ]
    return np.max(inside, axis=0) < CORNER


def doubt(probabilities, regions):
    """How much of a probability decides each label: between the two best classes, or around a half."""
    if regions:
        return np.abs(probabilities - 0.5).min(0)
    best = np.sort(probabilities, axis=0)
    return best[-1] - best[-2]

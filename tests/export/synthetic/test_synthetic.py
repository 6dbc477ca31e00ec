"""Synthetic cases: repeatable, labelled right, and varied in what the network must not depend on."""

import json

import nibabel as nib
import numpy as np
import pytest
import torch

from msdk_export.synthetic.appearance import blurred, random_tissues, tissue_intensities
from msdk_export.synthetic.cases import make_case, make_masked_case
from msdk_export.synthetic.dataset import write_dataset
from msdk_export.synthetic.deformation import random_positions, random_spacing, sample
from msdk_export.synthetic.fields import Random
from msdk_export.synthetic.template import CLASSES, Template, load_template

SIDES = (41, 37, 45)


def small_template():
    """A head of nested balls, small enough to be quick: white in grey in CSF."""
    centred = [torch.arange(side) - (side - 1) / 2 for side in SIDES]
    radius = torch.stack(torch.meshgrid(*centred, indexing="ij")).norm(dim=0)
    inner = [(radius < limit).float() for limit in (16, 14, 9)]
    maps = torch.stack([1 - inner[0], inner[0] - inner[1], inner[1] - inner[2], inner[2]])
    t1 = 0.3 * maps[1] + 0.6 * maps[2] + 0.9 * maps[3]
    return Template(maps, t1, radius - 16, np.eye(4))


@pytest.fixture(scope="module")
def template():
    return small_template()


def test_mni_maps_are_probabilities_of_the_brain():
    template = load_template()

    torch.testing.assert_close(template.probabilities.sum(0), torch.ones(template.t1.shape))
    assert template.probabilities.min() > -1e-6
    counts = np.bincount(template.labels.ravel())
    assert len(counts) == len(CLASSES)
    means = [template.t1.numpy()[template.labels == value].mean() for value in range(4)]
    assert means == sorted(means)
    brain = template.labels > 0
    assert (template.distance.numpy()[brain] < 3).all()
    assert template.distance.numpy()[~brain].min() > -3


def test_same_seed_same_case_and_another_seed_another(template):
    first, again, other = (make_case(template, seed) for seed in (3, 3, 4))

    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.labels, again.labels)
    assert first.image.shape != other.image.shape or (first.image != other.image).any()


@pytest.mark.parametrize("seed", range(8))
def test_a_case_shows_a_whole_brain_with_all_its_tissues(template, seed):
    case = make_case(template, seed)

    assert case.image.shape == case.labels.shape
    assert case.image.dtype == np.float32
    assert np.isfinite(case.image).all()
    assert case.image.min() >= 0
    assert set(np.unique(case.labels)) == {0, 1, 2, 3}
    volume = (case.labels > 0).sum() * np.prod(case.spacing)
    expected = (template.labels > 0).sum()
    assert 0.4 * expected < volume < 1.9 * expected
    means = [case.image[case.labels == value].mean() for value in (1, 2, 3)]
    assert means == sorted(means), "T1 weighting: CSF darkest, white matter brightest"


@pytest.mark.parametrize("seed", range(6))
def test_a_masked_case_is_a_brain_with_a_rim(template, seed):
    case = make_masked_case(template, seed)

    assert case.image.shape == case.labels.shape
    assert np.isfinite(case.image).all()
    assert set(np.unique(case.labels)) == {0, 1, 2, 3}
    assert (case.image[case.labels > 1] > 0).mean() > 0.9
    assert (case.image > 0).sum() < 6 * (case.labels > 0).sum()


def test_positions_and_sampling_agree_with_the_grid_they_name(template):
    exact = torch.stack(torch.meshgrid(*(torch.arange(n) for n in SIDES), indexing="ij"), dim=-1).float()

    torch.testing.assert_close(sample(template.probabilities, exact), template.probabilities)
    moved = sample(template.t1[None], exact + torch.tensor([1.0, 0, 0]))[0]
    torch.testing.assert_close(moved[:-1], template.t1[1:])


def test_spacing_scales_the_grid():
    coarse = random_positions(Random(1), (100, 100, 100), (2.0, 2.0, 2.0))
    fine = random_positions(Random(1), (100, 100, 100), (1.0, 1.0, 1.0))

    assert fine.shape[0] == pytest.approx(2 * coarse.shape[0], abs=1)
    step = (coarse[1:] - coarse[:-1]).norm(dim=-1).median()
    assert step == pytest.approx(2 / np.sqrt(0.82 * 1.15), rel=0.35)


def test_spacings_include_fine_coarse_and_anisotropic():
    spacings = [random_spacing(Random(seed)) for seed in range(60)]

    assert (1.0, 1.0, 1.0) in spacings
    assert any(min(s) > 1.5 for s in spacings)
    assert any(max(s) > 1.5 * min(s) for s in spacings)
    assert all(0.8 <= side <= 3 for s in spacings for side in s)


def test_certain_tissue_stays_and_uncertain_tissue_varies():
    probabilities = torch.zeros(4, 24, 24, 24)
    probabilities[0, :8] = 1
    probabilities[3, 8:16] = 1
    probabilities[2:, 16:] = 0.5
    draws = torch.stack([random_tissues(Random(seed), probabilities, (1.0,) * 3) for seed in range(12)])

    assert (draws[:, :8] == 0).all()
    assert (draws[:, 8:16] == 3).float().mean() > 0.97
    white = (draws[:, 16:] == 3).float().mean()
    assert 0.2 < white < 0.8


def test_blur_keeps_the_mean_and_is_symmetric():
    image = torch.zeros(15, 15, 15)
    image[7, 7, 7] = 1

    soft = blurred(image, 0.8)

    assert soft.sum() == pytest.approx(1, abs=1e-5)
    torch.testing.assert_close(soft, soft.flip(0, 1, 2))
    assert soft[7, 7, 7] < 0.5


def test_background_is_darkest_before_the_head_is_added():
    labels = torch.zeros(20, 20, 20, dtype=torch.long)
    labels[5:15, 5:15, 5:15] = 3

    image = tissue_intensities(Random(0), labels)

    assert image[:3].abs().max() < 1e-6
    assert image[9:11, 9:11, 9:11].mean() == pytest.approx(1, abs=0.2)


def test_dataset_is_written_once_and_kept(tmp_path):
    write_dataset(tmp_path, cases=1, validation=1, seed=22, workers=2, load=small_template)

    dataset = json.loads((tmp_path / "dataset.json").read_text())
    assert [len(dataset[part]) for part in ("training", "validation")] == [1, 1]
    for entry in (*dataset["training"], *dataset["validation"]):
        image, label = (nib.load(tmp_path / entry[part]) for part in ("image", "label"))
        assert image.shape == label.shape
        np.testing.assert_array_equal(image.affine, label.affine)
        assert set(np.unique(label.dataobj)) == {0, 1, 2, 3}

    kept = tmp_path / dataset["training"][0]["image"]
    written = kept.stat().st_mtime_ns
    write_dataset(tmp_path, cases=2, validation=0, seed=22, workers=2, load=small_template)
    assert kept.stat().st_mtime_ns == written
    assert len(json.loads((tmp_path / "dataset.json").read_text())["training"]) == 2

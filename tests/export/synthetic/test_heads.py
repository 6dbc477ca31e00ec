"""Synthetic heads: what is brain is known, what is around it varies, and what was cut is 0."""

import numpy as np
import pytest
import torch

from msdk_export.synthetic import coarse_heads
from msdk_export.synthetic.coarse_heads import CoarseHead, CoarseTemplate, make_coarse_head
from msdk_export.synthetic.fields import Random
from msdk_export.synthetic.heads import HeadPainter
from msdk_export.synthetic.template import load_template


@pytest.fixture(scope="module")
def template():
    return CoarseTemplate(load_template())


@pytest.fixture(scope="module")
def heads(template):
    return [make_coarse_head(template, seed) for seed in range(10)]


def test_same_seed_same_head(template, heads):
    again = make_coarse_head(template, 3)

    torch.testing.assert_close(again.image, heads[3].image)
    torch.testing.assert_close(again.brain, heads[3].brain)


def test_sides_and_values_are_as_the_network_takes_them(heads):
    for head in heads:
        assert all(side % 8 == 0 for side in head.image.shape)
        assert head.image.shape == head.brain.shape == head.counts.shape
        assert torch.isfinite(head.image).all()
        assert head.image.min() >= 0
        assert head.brain.min() >= 0
        assert head.brain.max() <= 1
        assert (head.brain * head.counts).sum() > 0


def test_without_air_a_head_is_seen_whole():
    image = torch.zeros(40, 48, 56)
    image[10:35, 20:41, 5:50] = 1
    counts = torch.ones(40, 48, 56, dtype=torch.bool)

    head = coarse_heads._without_air(CoarseHead(image, image / 2, counts))

    assert head.image.shape == (32, 32, 56)
    torch.testing.assert_close(head.image[2:27, 2:23, 2:47], torch.ones(25, 21, 45))
    assert head.image.sum() == image.sum() == 2 * head.brain.sum()
    assert head.counts[:29, :25, :49].all()
    assert head.counts.sum() == 29 * 25 * 49


def test_some_are_whole_heads_and_some_are_stripped(heads):
    counted = [float(head.counts.float().mean()) for head in heads]

    assert any(share == 1 for share in counted)
    assert any(share < 0.5 for share in counted)


def test_nothing_is_seen_where_nothing_counts(heads):
    for head in heads:
        assert (head.image[~head.counts] == 0).all()


def test_fluid_in_a_sulcus_is_brain_and_fluid_over_gyri_is_not():
    matter = torch.zeros(12, 12, 12)
    matter[3:9, 3:9, 3:9] = 1
    matter[5, 5:, 3:9] = 0  # one voxel wide, open to the outside

    brain = coarse_heads._over_sulci(matter)

    assert (brain[5, 5:8, 4:8] == 1).all()
    assert brain[3:9, 3:9, 3:9].sum() == brain.sum()


@pytest.mark.parametrize("seed", range(5))
def test_a_slanting_cut_leaves_one_side_of_a_plane(seed):
    seen = coarse_heads._before_a_plane(Random(seed), torch.Size((16, 17, 18)))

    assert 0.2 < seen.float().mean() < 1
    middle = (seen.shape[0] // 2, seen.shape[1] // 2, seen.shape[2] // 2)
    assert seen[middle]
    mirrored = seen.flip(0, 1, 2)
    assert (seen | mirrored).all(), "of two opposite voxels the plane takes one at most"


def painted(seed):
    """A head around a ball of 60 mm, painted at 4 mm."""
    axes = torch.stack(torch.meshgrid(*[4.0 * torch.arange(-30, 31)] * 3, indexing="ij"), -1)
    distance = axes.norm(dim=-1) - 60
    return HeadPainter(Random(seed), axes, distance, 4.0).head(), axes, distance


@pytest.mark.parametrize("seed", range(4))
def test_shells_lie_around_the_brain_and_end_in_air(seed):
    image, axes, distance = painted(seed)

    assert np.isfinite(image.numpy()).all()
    above = axes[..., 2] > 0
    assert (image[(distance > 70) & above] == 0).all()
    assert (image[(distance > 0) & (distance < 5) & above] > 0).float().mean() > 0.9


def test_heads_differ_in_shape_and_contrast():
    outlines = torch.stack([painted(seed)[0] > 0 for seed in range(4)]).float()

    assert outlines.mean(dim=(1, 2, 3)).std() > 0.01
    assert (outlines.std(dim=0) > 0).float().mean() > 0.02

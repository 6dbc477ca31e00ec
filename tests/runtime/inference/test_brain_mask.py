"""A recipe with a brain mask: what is no brain does not reach the network, and has no label."""

import warnings

import numpy as np
import pytest

from msdk_rt import InputError, InputWarning, Segmenter
from msdk_rt.artifact.brain_mask_entry import tensor_shapes
from msdk_rt.inference.brain_mask import find_brain
from msdk_rt.inference.brain_mask.grids import above, coarse_means
from msdk_rt.inference.brain_mask.weights import packed
from msdk_rt.inference.stages import Stages
from tests.support.segmenters_on_device import check_equal, on_host, put
from tests.support.segmenters_on_device import model as write_model


def bright(spacing=2.0, gain=10.0, bias=0.0):
    """A brain mask that takes bright voxels for brain: both convolutions copy; the head's gain and bias."""
    copy = np.zeros((1, 1, 3, 3, 3))
    copy[0, 0, 1, 1, 1] = 1
    values = [copy, [1], [0], copy, [1], [0], [[gain]], [bias]]
    tensors = [np.array(v, np.float32).reshape(s) for v, s in zip(values, tensor_shapes([1]), strict=True)]
    return {"spacing": spacing, "threshold": 0.5, "widths": [1], "weights": packed(tensors)}


def block(low=12, high=28, side=40, around=0.0):
    image = np.zeros((side,) * 3, np.float32)
    image[2:-2] = around
    image[low:high, low:high, low:high] = 100
    return image


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.7, 1.3, 3.1), (5.0, 2.0, 1.0)])
def test_means_over_cubes_keep_a_ramp(spacing):
    shape = (12, 13, 14)
    places = np.indices(shape) + 0.5
    ramp = sum(side * place for side, place in zip(spacing, places, strict=True)).astype(np.float32)
    coarse = coarse_means(ramp, spacing, 2.0)

    sides = [int(np.ceil(n * side / 2)) for n, side in zip(shape, spacing, strict=True)]
    assert list(coarse.shape) == sides
    if spacing == (1.0, 1.0, 1.0):
        centres = 2 * (np.indices(coarse.shape) + 0.5).sum(0)
        np.testing.assert_allclose(coarse[:, :6], centres[:, :6], rtol=1e-5)
    np.testing.assert_allclose(coarse.min(), ramp.min(), atol=max(spacing) + 4)


def test_interpolation_is_linear_between_cubes():
    values = np.zeros((4, 4, 4), np.float32)
    values[2:] = 1

    mask = above(values, 0.5, (8, 8, 8), (1.0, 1.0, 1.0), 2.0)

    assert not mask[:4].any()
    assert mask[4:].all()


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (1.0, 0.5, 2.0)])
def test_the_brain_is_found_to_within_a_voxel_of_the_mask(spacing):
    image = block(around=20.0)
    found = find_brain(bright(), image, spacing)

    wrong = np.argwhere(found != (image == 100))
    near = np.abs(wrong[..., None] - np.array([12, 28])).min(-1).min(-1)
    assert found[16:24, 16:24, 16:24].all()
    assert near.max(initial=0) <= 4
    assert len(wrong) < 0.7 * np.count_nonzero(image == 100)


@pytest.mark.parametrize("threshold", [0.5, 1e-6, 1 - 1e-6])
def test_the_largest_piece_is_kept_and_its_holes_are_filled(threshold):
    image = block(around=20.0)
    image[18:22, 18:22, 18:22] = 0
    image[2:8, 2:8, 2:8] = 100
    level = np.log(threshold / (1 - threshold))

    entry = bright(gain=100.0, bias=level - 50) | {"threshold": threshold}
    found = find_brain(entry, image, (1.0, 1.0, 1.0))

    assert found[18:22, 18:22, 18:22].all()
    assert not found[:9, :9, :9].any()


@pytest.mark.parametrize(("width", "filled"), [(4, True), (8, False)])
@pytest.mark.parametrize("side", [1.0, 0.5])
def test_a_narrow_groove_of_the_brain_is_part_of_it(width, filled, side):
    """From one face half way through the brain, of so many mm."""
    voxels = round(width / side)
    middle = slice(round(20 / side) - voxels // 2, round(20 / side) + voxels // 2)
    image = block(*(round(mm / side) for mm in (8, 32, 40)), around=20.0)
    image[: round(20 / side), middle] = 20

    found = find_brain(bright(gain=100.0, bias=-50.0), image, (side,) * 3)

    groove = found[round(10 / side) : round(16 / side), middle, round(12 / side) : round(28 / side)]
    assert groove.all() == filled
    assert found.sum() * side**3 < 1.4 * 24**3


def test_a_stripped_brain_is_left_as_it_is():
    image = block(low=8, high=32)
    image[7, 8:32, 8:32] = 1  # an edge that the mask alone would cut
    assert find_brain(bright(), image, (1.0, 1.0, 1.0)) is None


@pytest.mark.parametrize("level", [0, 5])
def test_more_air_around_a_head_changes_nothing(level):
    image = np.full((40,) * 3, level, np.float32)
    image[0, 0, 0] = 0
    image[8:32, 8:32, 8:32] = 30
    image[12:28, 12:28, 12:28] = 100
    air = [(16, 8), (0, 24), (8, 0)]

    found = find_brain(bright(), image, (1.0, 1.0, 1.0))
    padded = np.pad(image, air, constant_values=level)

    assert 0 < np.count_nonzero(found) < 24**3
    np.testing.assert_array_equal(find_brain(bright(), padded, (1.0, 1.0, 1.0)), np.pad(found, air))


def test_no_brain_is_a_warning_and_the_whole_image():
    with pytest.warns(InputWarning, match="nothing that looks like a brain"):
        found = find_brain(bright(gain=0.0, bias=-5.0), block(), (1.0, 1.0, 1.0))
    assert found is None


@pytest.mark.parametrize(("gain", "warned"), [(0.5, True), (10.0, False)])
def test_a_mask_that_is_unsure_of_its_voxels_is_a_warning(gain, warned):
    with warnings.catch_warnings(record=True) as given:
        warnings.simplefilter("always")
        found = find_brain(bright(gain=gain), block(around=20.0), (1.0, 1.0, 1.0))

    assert found.any()
    assert [str(one.message).split(":")[0] for one in given if one.category is InputWarning] == (
        ["the model's brain mask is unsure of this image"] if warned else []
    )


def test_only_the_brain_is_segmented(tmp_path):
    volume = np.random.default_rng(0).gamma(2, 100, (1, 30, 31, 32)).astype(np.float32)
    volume[:, 10:20, 10:20, 10:20] += 5000
    path = write_model(tmp_path, brain_mask=bright(), crop="nonzero", labels={"class0": 0, "class1": 3})
    with Segmenter(path) as segmenter:
        stages = Stages()
        segmenter._segment(volume, stages=stages, spacing=(1.0, 1.0, 1.0))
        result = segmenter.run(volume, return_probabilities=True, spacing=(1.0, 1.0, 1.0))
    mask = find_brain(bright(), volume[0], (1.0, 1.0, 1.0))
    assert list(stages.seconds)[:3] == ["mask", "crop", "normalise"]
    assert 0 < np.count_nonzero(mask) < mask.size / 2
    assert not result.labels[~mask].any()
    np.testing.assert_array_equal(result.probabilities[0][~mask], 1)
    np.testing.assert_allclose(result.probabilities.sum(0), 1, rtol=1e-5)

    path = write_model(tmp_path, crop="nonzero", labels={"class0": 0, "class1": 3})
    with Segmenter(path) as segmenter:
        by_hand = segmenter.run(np.where(mask, volume, 0))
    np.testing.assert_array_equal(result.labels, np.where(mask, by_hand, 0))


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_a_mask_alone_goes_before_windows_on_host_and_device(tmp_path, device, activation):
    """As by hand: the volume masked, then a model without a mask; on a GPU its arrays are refused."""
    volume = np.random.default_rng(0).gamma(2, 100, (1, 30, 31, 32)).astype(np.float32)
    volume[:, 10:20, 10:20, 10:20] += 5000
    mask = find_brain(bright(), volume[0], (1.0, 1.0, 1.0))
    (tmp_path / "with").mkdir()
    bare = write_model(tmp_path, activation=activation)
    path = write_model(tmp_path / "with", activation=activation, brain_mask=bright())
    (expected,) = on_host(bare, [np.where(mask, volume, 0)])
    expected.labels[~mask] = 0
    expected.probabilities[:, ~mask] = [[1], [0]] if activation == "softmax" else 0

    with Segmenter(path) as segmenter:
        check_equal(segmenter.run(volume, return_probabilities=True, spacing=(1, 1, 1)), expected, activation)
        with pytest.raises(InputError, match="brain mask runs on the host: copy it there first"):
            segmenter.run(put(device, volume)[0], spacing=(1, 1, 1))


def test_a_stripped_brain_has_the_labels_of_a_model_without_a_mask(tmp_path):
    volume = block(low=8, high=32)[None]
    (tmp_path / "with").mkdir()
    with (
        Segmenter(write_model(tmp_path)) as bare,
        Segmenter(write_model(tmp_path / "with", brain_mask=bright())) as masked,
    ):
        np.testing.assert_array_equal(masked.run(volume, spacing=(1, 1, 1)), bare.run(volume))


def test_an_array_without_a_spacing_is_taken_as_of_1_mm_with_a_warning(tmp_path):
    volume = block(around=20.0)[None]
    with Segmenter(write_model(tmp_path, brain_mask=bright())) as segmenter:
        with pytest.warns(InputWarning, match="1 mm is assumed: pass spacing="):
            assumed = segmenter.run(volume)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            np.testing.assert_array_equal(segmenter.run(volume, spacing=(1, 1, 1)), assumed)

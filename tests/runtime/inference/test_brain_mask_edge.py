"""The edge of a brain mask moves to where the image's tissue ends, and no further than its rule allows."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from msdk_rt.inference.brain_mask import find_brain
from msdk_rt.inference.brain_mask.edge import move_edge
from tests.runtime.inference.test_brain_mask import block, bright

EDGE = {"threshold": 0.3, "reach": 3.0, "darkest": 0.75, "brightest": 1.2, "depth": 5.0, "axes": [0, 1]}
SCALE = (0.0, 100.0)

sides = st.tuples(*[st.integers(1, 9)] * 3)
spacings = st.tuples(*[st.sampled_from([0.3, 1.0, 1.5, 4.0])] * 3)
rules = st.fixed_dictionaries(
    {
        "reach": st.sampled_from([0.0, 1.0, 3.0, 50.0]),
        "darkest": st.sampled_from([0.0, 0.5, 1.0]),
        "brightest": st.sampled_from([0.5, 1.5]),
        "depth": st.sampled_from([0.0, 1.0, 2.5, 50.0]),
        "axes": st.sampled_from([[], [2], [0, 1], [1, 2, 0]]),
    }
)


def by_scipy(edge, mask, likely, image, scale, spacing):
    """The same from cumulative sums along whole axes."""
    air, middle = scale
    relative = (image - np.float32(air)) / np.float32(middle - air)
    box = [2 * min(9, int(edge["reach"] / side + 1e-6)) + 1 for side in spacing]
    grown = mask | (likely & ndimage.maximum_filter(mask, box, mode="constant"))
    tissue = (relative >= edge["darkest"]) & ((relative <= edge["brightest"]) | mask)
    moved = grown.copy()
    for axis in edge["axes"]:
        for turned in (slice(None), slice(None, None, -1)):
            order = tuple(turned if other == axis else slice(None) for other in range(3))
            before = np.cumsum(grown[order] & tissue[order], axis) == 0
            depth = np.cumsum(grown[order], axis) <= int(edge["depth"] / spacing[axis] + 1e-6)
            moved[order] &= ~(before & depth)
    return moved


@given(sides, spacings, rules, st.integers(0, 2**32 - 1), st.floats(0, 1), st.sampled_from([0.0, -50.0]))
def test_the_edge_moves_as_cumulative_sums_say(shape, spacing, edge, seed, share, air):
    random = np.random.default_rng(seed)
    mask, likely = random.random((2, *shape)) < np.reshape([share, 0.7], (2, 1, 1, 1))
    image = random.integers(-50, 250, shape).astype(np.float32)
    scale = (air, air + 128)
    expected = by_scipy(edge, mask, likely, image, scale, spacing) if mask.any() else mask.copy()

    move_edge(edge, mask, likely, image, scale, spacing)

    np.testing.assert_array_equal(mask, expected)


def cube(low, high, shape=(31, 29, 27)):
    mask = np.zeros(shape, np.bool_)
    mask[low:high, low:high, low:high] = True
    return mask


def moved(image, mask, likely=None, spacing=(1.0, 1.0, 1.0), **changes):
    found = mask.copy()
    move_edge(EDGE | changes, found, mask if likely is None else likely, image, SCALE, spacing)
    return found


def test_cortex_beyond_the_mask_is_taken_in_as_far_as_it_reaches():
    image = np.where(cube(6, 20), 90, 20).astype(np.float32)
    everywhere = np.ones_like(cube(0, 1))

    found = moved(image, cube(8, 18), everywhere, depth=10.0, axes=[0, 1, 2])

    np.testing.assert_array_equal(found, cube(6, 20))


@pytest.mark.parametrize(
    ("reach", "side", "low"), [(3.0, 1.0, 5), (2.9, 1.0, 6), (3.0, 1.6, 7), (0.3, 0.1, 5)]
)
def test_it_reaches_no_further_than_its_millimetres(reach, side, low):
    image = np.full((31, 29, 27), 90, np.float32)

    found = moved(image, cube(8, 18), np.ones_like(image, np.bool_), (side,) * 3, reach=reach)

    np.testing.assert_array_equal(found, cube(low, 26 - low))


@pytest.mark.parametrize("rim", [20, 170])
def test_what_is_darker_or_brighter_than_tissue_is_not_taken_in(rim):
    image = np.where(cube(8, 18), 90, rim).astype(np.float32)

    found = moved(image, cube(8, 18), cube(6, 20), axes=[0, 1, 2])

    np.testing.assert_array_equal(found, cube(8, 18))


def test_a_bright_rim_of_the_mask_itself_stays():
    """A coil may make cortex bright."""
    image = np.where(cube(9, 17), 90, 200).astype(np.float32)

    np.testing.assert_array_equal(moved(image, cube(8, 18)), cube(8, 18))


def test_a_dark_rim_is_left_out_to_its_depth_and_not_along_other_axes():
    mask, image = cube(4, 24), np.where(cube(11, 17), 90, 20).astype(np.float32)

    found = moved(image, mask)

    assert not found[4:9, 4:24, 4:24].any()
    assert not found[4:24, 19:24, 4:24].any()
    assert found[9:19, 9:19, 4:24].all()


def test_fluid_between_gyri_stays():
    """A groove that no ray along the axes enters."""
    image = np.where(cube(8, 18), 90, 20).astype(np.float32)
    image[12:14, 12:14, 10:16] = 20

    np.testing.assert_array_equal(moved(image, cube(8, 18), cube(5, 21), axes=[0, 1, 2]), cube(8, 18))


@pytest.mark.parametrize("shape", [(1, 1, 1), (5, 1, 7)])
@pytest.mark.parametrize("count", [0, 1])
def test_of_no_voxel_or_one_at_a_corner_nothing_is_lost(shape, count):
    mask = np.zeros(shape, np.bool_)
    mask[0, 0, :count] = True
    image = np.where(mask, 90, 20).astype(np.float32)

    np.testing.assert_array_equal(moved(image, mask, np.ones_like(mask), reach=50.0, depth=50.0), mask)


def test_a_brain_that_the_field_of_view_cuts_keeps_its_cut_face():
    mask = np.zeros((20, 21, 22), np.bool_)
    mask[:9, 4:, 5:] = True
    image = np.where(mask, 90, 20).astype(np.float32)

    np.testing.assert_array_equal(moved(image, mask, np.ones_like(mask), axes=[0, 1, 2]), mask)


def head(gain=1.0, offset=0.0):
    """A brain with sharp cortex in a dark skull, all of it brighter than air."""
    return gain * block(around=20.0) + np.float32(offset)


def test_a_mask_ends_where_the_brains_tissue_does():
    wide = bright(gain=10.0) | {"threshold": 0.95}
    entry = wide | {"edge": EDGE | {"threshold": 0.2, "axes": [0, 1, 2]}}

    before, after = (find_brain(one, head(), (1.0, 1.0, 1.0)) for one in (wide, entry))

    brain = block() > 0
    assert np.count_nonzero(after ^ brain) < 0.2 * np.count_nonzero(before ^ brain)


@pytest.mark.parametrize(("gain", "offset"), [(1.0, 0.0), (7.0, 0.0), (0.5, 1000.0), (2.0, -300.0)])
def test_other_units_of_intensity_change_nothing(gain, offset):
    entry = bright() | {"edge": EDGE}

    expected = find_brain(entry, head(), (1.0, 1.5, 0.7))

    np.testing.assert_array_equal(find_brain(entry, head(gain, offset), (1.0, 1.5, 0.7)), expected)


def test_the_edge_of_an_unsure_mask_stays():
    unsure = bright(gain=0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before, after = (
            find_brain(entry, head(), (1.0, 1.0, 1.0)) for entry in (unsure, unsure | {"edge": EDGE})
        )

    np.testing.assert_array_equal(after, before)


def test_a_stripped_brain_is_left_as_it_is():
    assert find_brain(bright() | {"edge": EDGE}, block(low=8, high=32), (1.0, 1.0, 1.0)) is None

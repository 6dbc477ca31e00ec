"""Grooves of a mask are filled as SciPy's closing with a box fills them."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from msdk_rt.inference.brain_mask.grooves import fill_grooves

sides = st.tuples(*[st.integers(1, 9)] * 3)
boxes = st.tuples(*[st.integers(0, 4)] * 3)


@given(sides, boxes, st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_grooves_are_filled_as_by_scipys_closing(shape, radii, seed, share):
    mask = np.random.default_rng(seed).random(shape) < share
    margin = [(2 * r, 2 * r) for r in radii]
    closed = ndimage.binary_closing(np.pad(mask, margin), np.ones([2 * r + 1 for r in radii]))
    expected = closed[tuple(slice(2 * r, 2 * r + n) for r, n in zip(radii, shape, strict=True))]

    fill_grooves(mask, radii)

    np.testing.assert_array_equal(mask, expected)


def test_a_groove_is_filled_and_a_gap_stays():
    mask = np.zeros((20, 9, 10), np.bool_)
    mask[2:6] = mask[10:13] = mask[18:] = True  # 4 voxels between, then 5

    fill_grooves(mask, (2, 0, 0))

    assert mask[2:13].all()
    assert not mask[:2].any()
    assert not mask[13:18].any()


def test_a_radius_of_tiny_voxels_takes_no_more_memory_than_the_mask():
    mask = np.zeros((9, 4, 5), np.bool_)
    mask[1] = mask[7] = True

    fill_grooves(mask, (10**9, 0, 10**9))

    assert mask[1:8].all()
    assert not mask[[0, 8]].any()

"""What the brain mask's network sees: a head alike in much air and in little."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from msdk_rt.inference.brain_mask.field import AIR, FEW, MARGIN, head_box, scaled

sides = st.tuples(*[st.integers(1, 9)] * 3)
pads = st.tuples(*[st.tuples(st.integers(0, 7), st.integers(0, 7))] * 3)


@given(sides, pads, st.floats(0, 0.9 * AIR))
def test_the_box_is_the_head_and_a_margin_whatever_the_air(shape, air, level):
    noise = np.random.default_rng(0).uniform(
        0, level, [a + n + b for n, (a, b) in zip(shape, air, strict=True)]
    )
    image = noise.astype(np.float32)
    head = tuple(slice(a, a + n) for n, (a, _) in zip(shape, air, strict=True))
    image[head] = 1

    for found, side, whole in zip(head_box(image), head, image.shape, strict=True):
        assert found == slice(max(0, side.start - MARGIN), min(whole, side.stop + MARGIN))


def test_a_few_bright_voxels_do_not_make_air_a_head():
    image = np.zeros((30, 31, 32), np.float32)
    image[10:20, 11:21, 12:22] = 1
    expected = head_box(image)
    image[1, 2, : int(FEW * 100)] = 1  # a full plane of the head has 100

    assert head_box(image) == expected


@pytest.mark.parametrize("value", [0.0, -3.0, 7.0])
def test_of_a_constant_image_all_is_seen(value):
    relative = scaled(np.full((4, 5, 6), value, np.float32))

    assert head_box(relative) == (slice(0, 4), slice(0, 5), slice(0, 6))

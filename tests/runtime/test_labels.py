"""Dice of label maps against its definition."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from msdk_rt.labels import dice


@given(seed=st.integers(0, 999), shape=st.tuples(*[st.integers(1, 7)] * 3))
@settings(max_examples=50, deadline=None, derandomize=True)
def test_dice_is_twice_the_overlap_over_both_sizes(seed, shape):
    random = np.random.default_rng(seed)
    found, expected = random.integers(0, 4, (2, *shape)).astype(np.uint8)

    for name, value in {"a": 1, "b": 3, "absent": 200}.items():
        ours = dice(found, expected, {name: value})[name]
        first, second = ({*zip(*np.nonzero(x == value), strict=True)} for x in (found, expected))
        if not first and not second:
            assert math.isnan(ours)
        else:
            assert ours == pytest.approx(2 * len(first & second) / (len(first) + len(second)))

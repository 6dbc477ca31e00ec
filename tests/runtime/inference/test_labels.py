"""Label maps against argmax and the rule of regions, Dice against its definition."""

import math
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from msdk_rt.inference import planes
from msdk_rt.inference.labels import dice, label_voxels


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


@given(seed=st.integers(0, 999), shape=st.tuples(*[st.integers(1, 9)] * 4), block=st.integers(1, 300))
@settings(max_examples=50, deadline=None, derandomize=True)
def test_labels_in_blocks_follow_the_rules(seed, shape, block):
    random = np.random.default_rng(seed)
    logits = random.integers(-2, 3, shape).astype(np.float32)  # many equal ones
    values = random.permutation(300)[: len(logits)]
    with patch.object(planes, "BLOCK", block):
        classes, regions = (label_voxels(logits, values, rule) for rule in ("softmax", "sigmoid"))
    np.testing.assert_array_equal(classes, values[logits.argmax(0)])
    last = len(logits) - 1 - (logits > 0)[::-1].argmax(0)
    np.testing.assert_array_equal(regions, np.where((logits > 0).any(0), values[last], 0))

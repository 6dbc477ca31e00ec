"""Resampling against scikit-image and SciPy, called as nnU-Net calls them."""

import warnings

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import msdk_rt.backends.libraries
from msdk_rt.artifact.notes import InputWarning
from msdk_rt.backends.resampling_kernels import ResamplingKernels
from msdk_rt.errors import BackendError, InputError
from msdk_rt.inference.resampling import (
    LabelsByPlanes,
    resample,
    resample_to_labels,
    resample_to_probabilities,
    resampled_shape,
    separate_z,
)
from tests.support import nnunet_resampling

ROUNDING = 1e-6  # of the largest value; the worst of some 5,000 random cases was 5.6e-7
ORDERS = st.sampled_from([0, 1, 3])
SIDES = st.tuples(*[st.integers(1, 37)] * 3)


def volume(shape, seed, mean=0.0):
    return np.random.default_rng(seed).normal(mean, 1, shape).astype(np.float32)


@st.composite
def cases(draw):
    """(data, shape, settings): each axis keeps its length in one of four cases."""
    before, after = draw(SIDES), draw(SIDES)
    kept = draw(st.tuples(*[st.integers(0, 3)] * 3))
    shape = tuple(b if keep == 0 else a for b, a, keep in zip(before, after, kept, strict=True))
    data = volume(
        (draw(st.integers(1, 3)), *before), draw(st.integers(0, 99)), draw(st.sampled_from([0, 30]))
    )
    separate_axis = draw(st.sampled_from([None, 0, 1, 2]))
    return data, shape, {"order": draw(ORDERS), "separate_axis": separate_axis, "order_z": draw(ORDERS)}


@given(cases())
@settings(max_examples=150, deadline=None, derandomize=True)
@example((volume((1, 1, 1, 1), 0), (3, 4, 5), {"order": 3, "separate_axis": None, "order_z": 0}))
@example((volume((2, 2, 3, 40), 1), (5, 3, 63), {"order": 3, "separate_axis": None, "order_z": 0}))
@example((volume((1, 5, 40, 33), 2), (12, 65, 50), {"order": 3, "separate_axis": 0, "order_z": 0}))
@example((volume((1, 33, 5, 40), 3), (50, 12, 20), {"order": 3, "separate_axis": 1, "order_z": 3}))
def test_volumes_are_nnunets_to_rounding(case):
    data, shape, options = case
    before = data.copy()
    found = resample(data, shape, **options)
    expected = nnunet_resampling.resample(data, shape, **options)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=0, atol=ROUNDING * np.abs(data).max())
    np.testing.assert_array_equal(data, before)


@pytest.mark.parametrize(("before", "after"), [(n, m) for n in range(1, 41) for m in (1, 2, 20, 40, 41, 80)])
def test_nearest_voxels_are_scipys_where_two_are_equally_near(before, after):
    data = np.arange(before, dtype=np.float32).reshape(1, 1, 1, before)
    expected = nnunet_resampling.resample(data, (1, 1, after), 0)
    np.testing.assert_array_equal(resample(data, (1, 1, after), order=0), expected)
    planes = np.moveaxis(data, 3, 1)
    expected = nnunet_resampling.resample(planes, (after, 1, 1), 3, 0, 0)
    np.testing.assert_array_equal(
        resample(planes, (after, 1, 1), order=3, separate_axis=0, order_z=0), expected
    )


@given(cases(), st.sampled_from(["softmax", "sigmoid"]), st.booleans(), st.integers(0, 9))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_labels_are_those_of_the_resampled_logits(case, activation, half, seed):
    logits, shape, options = case
    values = np.random.default_rng(seed).permutation(300)[: len(logits)]
    found = resample_to_labels(logits, shape, values, activation, half=half, **options)
    resampled = resample(logits, shape, **options).astype(np.float16 if half else np.float32)
    assert found.dtype == (np.uint8 if values.max() <= 255 else np.uint16)
    np.testing.assert_array_equal(found, nnunet_resampling.labels_of(resampled, values, activation))


@given(cases(), st.sampled_from(["softmax", "sigmoid"]), st.integers(2, 30))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_labels_by_planes_are_those_of_all_logits_at_once(case, activation, step):
    logits, shape, options = case
    options |= {"order": min(options["order"], 1), "order_z": min(options["order_z"], 1)}
    options["separate_axis"] = 0 if options["separate_axis"] else None
    values = list(range(1, len(logits) + 1))
    labels = np.full(shape, 99, np.uint8)
    found = LabelsByPlanes(logits.shape[1:], labels, values, activation, **options)
    depth = logits.shape[1]
    for first in range(0, max(1, depth - 1), step - 1):
        found.take(first, logits[:, first : first + step])
    np.testing.assert_array_equal(labels, resample_to_labels(logits, shape, values, activation, **options))


@pytest.mark.parametrize("options", [{"order": 3}, {"separate_axis": 1}, {"order_z": 3, "separate_axis": 0}])
def test_labels_by_planes_refuse_what_needs_all_logits(options):
    with pytest.raises(InputError, match="give all logits at once"):
        LabelsByPlanes((3, 4, 5), np.empty((6, 7, 8), np.uint8), [0, 1], "softmax", **options)


def test_labels_by_planes_refuse_another_number_of_channels():
    found = LabelsByPlanes((3, 4, 5), np.empty((6, 7, 8), np.uint8), [0, 1], "softmax")
    with pytest.raises(InputError, match="2 voxel values for 3 channels"):
        found.take(0, volume((3, 3, 4, 5), 1))


def test_labels_of_many_classes_are_nnunets_but_where_two_logits_are_equal():
    logits = volume((25, 20, 24, 17), 4)
    found = resample_to_labels(logits, (31, 40, 33), range(25), "softmax")
    expected = nnunet_resampling.resample(logits, (31, 40, 33), 1)
    labels = expected.argmax(0)
    first, second = np.sort(expected, 0)[[-1, -2]]
    assert (found == labels)[first - second > 1e-6].all()
    assert np.count_nonzero(found != labels) <= 2


def test_labels_in_half_precision_are_those_of_nnunets_half_logits():
    """nnU-Net keeps logits as float16: resampled ones that round to the same number are equal.

    Twice the shape, where weights of 1/4 and 3/4 leave float32 nothing to round.
    """
    logits = (8 + volume((3, 9, 10, 11), 5) * 0.01).astype(np.float16)
    expected = nnunet_resampling.resample(logits, (18, 20, 22), 1)
    assert expected.dtype == np.float16
    single = logits.astype(np.float32)
    found = resample_to_labels(single, (18, 20, 22), range(3), "softmax", half=True)
    np.testing.assert_array_equal(found, expected.argmax(0))
    unrounded = resample_to_labels(single, (18, 20, 22), range(3), "softmax")
    assert np.count_nonzero(unrounded != expected.argmax(0)) > 100


@given(cases(), st.sampled_from(["softmax", "sigmoid"]), st.booleans())
@settings(max_examples=40, deadline=None, derandomize=True)
def test_probabilities_are_those_of_the_resampled_logits(case, activation, half):
    logits, shape, options = case
    before = logits.copy()
    found = resample_to_probabilities(logits, shape, activation, half=half, **options)
    resampled = resample(logits, shape, **options).astype(np.float16 if half else np.float32)
    powers = np.exp(resampled.astype(np.float64))
    expected = powers / powers.sum(0) if activation == "softmax" else powers / (1 + powers)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(logits, before)


@pytest.mark.parametrize("order", [0, 1, 3])
def test_threads_and_strides_change_no_bit(order, monkeypatch):
    monkeypatch.setattr("msdk_rt.inference.resampling.plan.threads_for", lambda asked: asked)
    data = volume((2, 30, 31, 50), 6)
    found = [resample(data, (41, 20, 70), order=order, threads=threads) for threads in (1, 2, 7)]
    strided = resample(np.asfortranarray(data), (41, 20, 70), order=order, threads=3)
    for other in (*found[1:], strided):
        np.testing.assert_array_equal(other, found[0])


def test_more_threads_than_processors_are_lowered_with_a_warning():
    with pytest.warns(InputWarning, match="100000 threads were asked for"):
        resample(volume((1, 2, 3, 4), 0), (3, 4, 5), order=1, threads=100_000)


def test_the_same_shape_is_the_data_itself():
    data = volume((1, 3, 4, 5), 7)
    assert resample(data, (3, 4, 5), order=3, separate_axis=1) is data


def test_values_of_order_3_stay_within_the_range_of_their_data():
    data = np.zeros((1, 9, 10, 11), np.float32)
    data[:, 4:] = 1
    found = resample(data, (23, 10, 11), order=3)
    assert (found.min(), found.max()) == (0, 1)


@pytest.mark.parametrize(
    ("spacing", "new_spacing", "axis"),
    [
        ((1, 1, 1), (1, 1, 1), None),
        ((3, 1, 1), (1, 1, 1), None),  # not more than 3 times
        ((3.001, 1, 1), (1, 1, 1), 0),
        ((1, 1, 1), (1, 5, 1), 1),
        ((1, 0.25, 1.1), (5, 1, 1), 2),  # the data's own spacing decides
        ((0.24, 1.25, 1.25), (1, 1, 1), None),  # two axes are the coarsest
        ((0.24, 1.25, 1.25), (9, 1, 1), None),
        ((1, 1, 1), (5, 5, 1), None),
    ],
)
def test_the_separate_axis_is_nnunets(spacing, new_spacing, axis):
    assert separate_z(spacing, new_spacing) == axis
    assert separate_z(np.array(spacing), np.array(new_spacing)) == axis


def test_shapes_round_halves_to_even():
    assert resampled_shape((5, 7, 100), (1, 1, 0.7), (2, 2, 1)) == (2, 4, 70)


@pytest.mark.parametrize(
    "spacing", [(1, 1), (1, 1, 0), (1, 1, -1), (1, 1, float("nan")), (1, float("inf"), 1)]
)
def test_a_spacing_that_is_none_is_refused(spacing):
    for function in (
        lambda: separate_z(spacing, (1, 1, 1)),
        lambda: resampled_shape((2, 2, 2), spacing, (1, 1, 1)),
    ):
        with pytest.raises(InputError, match="three lengths above 0 in mm, got"):
            function()


def test_a_spacing_that_leaves_no_voxel_is_refused():
    with pytest.raises(InputError, match=r"would have the shape \(0, 10, 10\).*at least one voxel"):
        resampled_shape((1, 10, 10), (1, 1, 1), (3, 1, 1))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"data": np.zeros((1, 2, 2, 2))}, "got float64 of shape"),
        ({"data": np.zeros((2, 2, 2), np.float32)}, r"expected float32 \(C, D, H, W\)"),
        ({"data": np.zeros((1, 0, 2, 2), np.float32)}, "at least one voxel"),
        ({"shape": (3, 0, 3)}, r"each at least 1, got \(3, 0, 3\)"),
        ({"shape": (3, 3)}, "the new shape must be"),
        ({"order": 2}, r"order must be 0 .*, got 2"),
        ({"order": True}, "got True"),
        ({"order_z": 5}, "order_z must be 0"),
        ({"separate_axis": 3}, r"separate_axis must be .*, got 3"),
    ],
)
def test_what_cannot_be_resampled_is_refused(changed, message):
    options = {"data": volume((1, 2, 2, 2), 0), "shape": (3, 3, 3), "order": 3} | changed
    with pytest.raises(InputError, match=message):
        resample(**options)


def test_a_value_for_each_channel_is_needed():
    with pytest.raises(InputError, match="got 3 voxel values for 2 channels"):
        resample_to_labels(volume((2, 2, 2, 2), 0), (3, 3, 3), (0, 1, 2), "softmax")


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, 37, -1])
def test_order_3_refuses_what_its_filter_would_spread(wrong, place):
    data = volume((2, 5, 6, 7), 8)
    data[1].reshape(-1)[place] = wrong
    for axis in (None, 0):
        with pytest.raises(BackendError, match="a voxel is NaN or infinite"):
            resample(data, (6, 7, 8), order=3, separate_axis=axis)


def test_a_missing_library_is_told(monkeypatch):
    monkeypatch.setattr(msdk_rt.backends.libraries, "RESAMPLING_LIBRARY_NAME", "libabsent.so")
    with pytest.raises(BackendError, match=r"libabsent\.so is missing"):
        ResamplingKernels()


def test_one_voxel_becomes_many_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = resample(np.full((1, 1, 1, 1), 7, np.float32), (4, 3, 2), order=3)
    np.testing.assert_array_equal(found, 7)

"""Window plan and blending against MONAI's sliding_window_inference."""

import itertools
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data.utils import compute_importance_map
from monai.inferers import sliding_window_inference

from msdk_rt.errors import BackendError
from msdk_rt.inference import planes
from msdk_rt.inference.windows import axis_starts, blend_planes, blend_windows, importance, plan_windows

CASES = [
    ((17, 13, 9), (8, 8, 8)),
    ((7, 30, 11), (8, 16, 5)),
    ((3, 4, 5), (8, 9, 10)),
    ((8, 8, 8), (8, 8, 8)),
    ((1, 20, 20), (4, 7, 7)),
    ((16, 15, 24), (8, 8, 8)),
]


def predict(windows):
    """A nonlinear, position-dependent stand-in for a network: (B, C, ...) -> (B, 2, ...)."""
    summed = windows.sum(1, keepdims=True)
    ramp = np.linspace(-1, 1, windows.shape[-1], dtype=np.float32)
    return np.concatenate([np.sin(summed) + ramp, summed * np.abs(summed) - ramp], 1)


def monai_blend(volume, window, overlap, mode, batch_size=1):
    return sliding_window_inference(
        torch.from_numpy(volume[None]),
        window,
        batch_size,
        lambda windows: torch.from_numpy(predict(windows.numpy())),
        overlap=overlap,
        mode=mode,
    )[0].numpy()


def blend(volume, window, overlap, mode, batch_size=1):
    starts = plan_windows(volume.shape[1:], window, overlap)
    return blend_windows(volume, window, predict, starts, importance(window, mode, 0.125), batch_size)


def random_volume(shape, seed, channels=2):
    print(f"seed {seed}")
    return np.random.default_rng(seed).standard_normal((channels, *shape)).astype(np.float32)


@pytest.mark.parametrize("mode", ["gaussian", "constant"])
@pytest.mark.parametrize("overlap", [0, 0.25, 0.5, 0.75])
@pytest.mark.parametrize(("shape", "window"), CASES)
def test_equals_monai(shape, window, overlap, mode):
    volume = random_volume(shape, 3)
    ours = blend(volume, window, overlap, mode)
    assert ours.shape == (2, *shape)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, monai_blend(volume, window, overlap, mode), rtol=1e-5, atol=1e-5)


ANYWHERE = {
    "shape": st.tuples(*[st.integers(1, 20)] * 3),
    "window": st.tuples(*[st.integers(1, 12)] * 3),
    "overlap": st.floats(0, 0.8),
    "seed": st.integers(0, 2**32 - 1),
}


@settings(max_examples=60, deadline=None)
@given(**ANYWHERE, batch_size=st.integers(1, 5))
def test_equals_monai_anywhere(shape, window, overlap, batch_size, seed):
    volume = random_volume(shape, seed)
    ours = blend(volume, window, overlap, "gaussian", batch_size)
    theirs = monai_blend(volume, window, overlap, "gaussian", batch_size)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


@settings(max_examples=100, deadline=None)
@given(**ANYWHERE, block=st.integers(1, 2000))
def test_work_in_blocks_gives_the_same_numbers(shape, window, overlap, block, seed):
    shape = np.maximum(shape, window)
    volume = random_volume(shape, seed)
    starts, weights = plan_windows(shape, window, overlap), importance(window, "gaussian", 0.125)
    total, weight_sum = np.zeros((2, *shape), np.float32), np.zeros(shape, np.float32)
    for start in starts:
        box = (..., *(slice(first, first + side) for first, side in zip(start, window, strict=True)))
        total[box] += predict(volume[None][box])[0] * weights
        weight_sum[box] += weights
    with patch.object(planes, "BLOCK", block):
        blended = blend_windows(volume, window, predict, starts, weights)
    np.testing.assert_array_equal(blended, total / weight_sum)


@settings(max_examples=60, deadline=None)
@given(**ANYWHERE, spare=st.integers(1, 12), batch_size=st.integers(1, 4))
def test_planes_are_those_of_the_whole_volume(shape, window, overlap, seed, spare, batch_size):
    """Each call begins with the last plane of the call before, and the calls end with the volume."""
    volume = random_volume(shape, seed)
    starts, weights = plan_windows(shape, window, overlap), importance(window, "gaussian", 0.125)
    whole = blend_windows(volume, window, predict, starts, weights, batch_size)
    seen = []

    def take(first, planes):
        assert first == (seen[-1][1] - 1 if seen else 0)
        seen.append((first, first + planes.shape[1]))
        assert planes.shape[1] <= window[0] + spare
        np.testing.assert_array_equal(planes, whole[:, first : first + planes.shape[1]])

    blend_planes(volume, window, predict, starts, weights, take, batch_size, spare=spare)
    assert seen[-1][1] == shape[0]
    assert len(seen) > 1 or shape[0] <= max(window[0], 1) + spare


def test_the_work_for_a_long_volume_grows_with_its_windows_alone():
    """Each window is looked at a few times, however many planes are given away one after the other."""
    looks = []

    class Counted(tuple):
        def __iter__(self):
            looks.append(self)
            return super().__iter__()

    volume, window = random_volume((600, 3, 3), 5), (4, 3, 3)
    starts = [Counted(start) for start in plan_windows(volume.shape[1:], window, 0.5)]
    taken = []
    blend_planes(
        volume,
        window,
        predict,
        starts,
        importance(window, "gaussian", 0.125),
        lambda first, planes: taken.append(first),
        spare=1,
    )
    assert len(taken) > 100
    assert len(looks) < 12 * len(starts)


@pytest.mark.parametrize("window", [(1, 1, 1), (5, 8, 13), (32, 24, 20), (2, 64, 3)])
def test_importance_equals_monai(window):
    theirs = compute_importance_map(window, mode="gaussian", sigma_scale=0.125).numpy()
    np.testing.assert_allclose(importance(window, "gaussian", 0.125), theirs, rtol=1e-6)


@given(size=st.integers(1, 300), window=st.integers(1, 300), overlap=st.floats(0, 0.99))
def test_windows_cover_an_axis_without_leaving_it(size, window, overlap):
    size = max(size, window)
    starts = axis_starts(size, window, overlap)
    assert starts[0] == 0
    assert starts[-1] == size - window
    assert all(0 < later - earlier <= window for earlier, later in itertools.pairwise(starts))


def test_last_batch_is_smaller():
    sizes = []
    volume = random_volume((17, 8, 8), 1, channels=1)
    starts = plan_windows((17, 8, 8), (8, 8, 8), 0.5)
    assert len(starts) == 4

    def watched(windows):
        sizes.append(len(windows))
        return predict(windows)

    blend_windows(volume, (8, 8, 8), watched, starts, importance((8, 8, 8), "constant", 1), batch_size=3)
    assert sizes == [3, 1]


@pytest.mark.parametrize("block", [1, 200, planes.BLOCK])
@pytest.mark.parametrize("place", [(0, 0, 0, 0), (0, 2, 1, 3), (1, 7, 7, 7)])
@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
def test_nan_from_the_network_is_an_error(poison, place, block):
    def broken(windows):
        logits = predict(windows)
        logits[(slice(1, None), *place)] = poison
        return logits

    with (
        patch.object(planes, "BLOCK", block),
        pytest.raises(BackendError, match=r"window\(s\) starting at \(1, 0, 0\), \(2, 0, 0\):"),
    ):
        blend_windows(
            random_volume((10, 8, 8), 2),
            (8, 8, 8),
            broken,
            [(0, 0, 0), (1, 0, 0), (2, 0, 0)],
            np.ones((8, 8, 8), np.float32),
            batch_size=3,
        )


def test_the_largest_finite_logits_are_no_error():
    """Their sum is infinite. The network may hand out the same array each time: it is only read."""
    logits = np.full((1, 2, 8, 8, 8), np.finfo(np.float32).max)
    logits.setflags(write=False)
    starts = plan_windows((16, 8, 8), (8, 8, 8), 0)
    ones = np.ones((8, 8, 8), np.float32)
    blended = blend_windows(random_volume((16, 8, 8), 4), (8, 8, 8), lambda _: logits, starts, ones)
    np.testing.assert_array_equal(blended, logits[0, 0, 0, 0, 0])


def test_logits_of_another_shape_are_an_error():
    with pytest.raises(BackendError, match=r"shape \(1, 2, 8, 8, 7\), expected \(1, K, 8, 8, 8\)"):
        blend_windows(
            random_volume((8, 8, 8), 2),
            (8, 8, 8),
            lambda windows: predict(windows)[..., :-1],
            [(0, 0, 0)],
            np.ones((8, 8, 8), np.float32),
        )

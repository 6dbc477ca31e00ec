"""Sums of windows in float16 against NumPy's float16, one window after the other, and against PyTorch's."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from msdk_rt.errors import BackendError
from msdk_rt.inference import nnunet_windows, windows
from msdk_rt.inference.host import HostPipeline
from msdk_rt.inference.sums import SumsInFloat16, sums_of
from msdk_rt.inference.windows import blend_planes, blend_windows
from msdk_rt.segmenter import Segmenter
from tests.runtime.inference.test_windows import predict, random_volume
from tests.support.small_model import write_artifact

SCHEMES = {"nnunet": nnunet_windows, "monai": windows}
ANYWHERE = {
    "shape": st.tuples(*[st.integers(1, 20)] * 3),
    "window": st.tuples(*[st.integers(1, 12)] * 3),
    "overlap": st.floats(0, 0.8),
    "scheme": st.sampled_from(sorted(SCHEMES)),
    "scale": st.sampled_from([1e-5, 0.1, 2.0]),
    "seed": st.integers(0, 2**32 - 1),
}


def in_numpy(volume, window, starts, weights):
    """What nnU-Net computes, in NumPy's float16."""
    shape = volume.shape[1:]
    total, weight_sum = np.zeros((2, *shape), np.float16), np.zeros(shape, np.float16)
    for start in starts:
        box = (..., *(slice(first, first + side) for first, side in zip(start, window, strict=True)))
        total[box] = (total[box].astype(np.float32) + predict(volume[None][box])[0] * weights).astype(
            np.float16
        )
        weight_sum[box] += weights.astype(np.float16)
    return (total.astype(np.float32) / weight_sum.astype(np.float32)).astype(np.float16)


@settings(max_examples=80, deadline=None)
@given(**ANYWHERE, threads=st.integers(1, 2), batch_size=st.integers(1, 4), spare=st.integers(1, 12))
def test_equals_numpy_anywhere(shape, window, overlap, scheme, scale, seed, threads, batch_size, spare):
    """Bit for bit, for any batch, threads and planes at a time."""
    volume = np.float32(scale) * random_volume(np.maximum(shape, window), seed)
    starts = SCHEMES[scheme].plan_windows(volume.shape[1:], window, overlap)
    weights = SCHEMES[scheme].importance(window, "gaussian", 0.125).astype(np.float16).astype(np.float32)
    expected = in_numpy(volume, window, starts, weights)
    found = np.full(expected.shape, np.nan, np.float32)

    def take(first, planes):
        found[:, first : first + planes.shape[1]] = planes

    blend_planes(
        volume, window, predict, starts, weights, take, batch_size, sums=SumsInFloat16(threads), spare=spare
    )
    np.testing.assert_array_equal(found, expected)


def test_equals_pytorch_where_threads_share_a_window():
    """On 3 threads, with more numbers than one thread is given: torch.half as nnUNetPredictor uses it."""
    shape, window = (40, 70, 66), (32, 64, 64)
    volume = random_volume(shape, 8)
    starts, weights = nnunet_windows.plan_windows(shape, window, 0.5), None
    weights = nnunet_windows.importance(window, "gaussian", 0.125)
    total, weight_sum = torch.zeros((2, *shape), dtype=torch.half), torch.zeros(shape, dtype=torch.half)
    half = torch.from_numpy(weights).half()
    for start in starts:
        box = (..., *(slice(first, first + side) for first, side in zip(start, window, strict=True)))
        total[box] += torch.from_numpy(predict(volume[None][box])[0]) * half
        weight_sum[box] += half
    expected = torch.div(total, weight_sum).numpy()
    sums = SumsInFloat16()
    sums._threads = 3  # more than a small machine has
    np.testing.assert_array_equal(
        blend_windows(volume, window, predict, starts, weights, sums=sums), expected
    )
    in_float32 = blend_windows(volume, window, predict, starts, weights)
    assert (in_float32.astype(np.float16) != expected).any()


def folds_of(count):
    """`predict` of several networks, fold after fold."""
    return lambda batch: np.concatenate([predict(batch) * np.float32(1 + 0.3 * k) for k in range(count)], 1)


@settings(max_examples=60, deadline=None)
@given(
    **ANYWHERE | {"scale": st.sampled_from([1e-6, 0.1, 0.5])},
    folds=st.integers(2, 7),
    threads=st.integers(1, 2),
    batch_size=st.integers(1, 4),
    spare=st.integers(1, 12),
)
def test_folds_are_averaged_as_nnunet_averages_them(
    shape, window, overlap, scheme, scale, seed, folds, threads, batch_size, spare
):
    """Bit for bit predict_logits_from_preprocessed_data: folds are blended, then halves averaged."""
    volume = np.float32(scale) * random_volume(np.maximum(shape, window), seed)
    starts = SCHEMES[scheme].plan_windows(volume.shape[1:], window, overlap)
    weights = SCHEMES[scheme].importance(window, "gaussian", 0.125).astype(np.float16).astype(np.float32)
    networks = folds_of(folds)
    prediction = None
    for fold in range(folds):
        one = blend_windows(
            volume,
            window,
            lambda batch, fold=fold: networks(batch)[:, 2 * fold : 2 * fold + 2],
            starts,
            weights,
            sums=SumsInFloat16(),
        )
        of_fold = torch.from_numpy(one).half()
        prediction = of_fold if prediction is None else prediction.add_(of_fold)
    prediction /= folds
    found = np.full(prediction.shape, np.nan, np.float32)

    def take(first, planes):
        found[:, first : first + planes.shape[1]] = planes

    options = {"sums": SumsInFloat16(threads), "folds": folds}
    blend_planes(volume, window, networks, starts, weights, take, batch_size, spare=spare, **options)
    np.testing.assert_array_equal(found, prediction.numpy())
    at_once = blend_windows(volume, window, networks, starts, weights, batch_size, **options)
    np.testing.assert_array_equal(at_once, found)


def test_folds_in_float32_are_their_mean():
    volume, window = random_volume((13, 9, 11), 4), (6, 5, 7)
    starts, weights = (
        windows.plan_windows(volume.shape[1:], window, 0.5),
        windows.importance(window, "gaussian", 0.2),
    )
    found = blend_windows(volume, window, folds_of(3), starts, weights, folds=3)
    whole = blend_windows(volume, window, folds_of(3), starts, weights)
    expected = whole.astype(np.float64).reshape(3, 2, *whole.shape[1:]).mean(0)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


def test_channels_that_are_no_whole_folds_are_an_error():
    arguments = (
        random_volume((8, 8, 8), 3),
        (8, 8, 8),
        folds_of(2),
        [(0, 0, 0)],
        np.ones((8, 8, 8), np.float32),
    )
    with pytest.raises(
        BackendError, match=r"logits of shape \(1, 4, 8, 8, 8\), expected \(1, 3 K, 8, 8, 8\)"
    ):
        blend_windows(*arguments, folds=3)


def test_a_sum_of_folds_too_large_for_float16_is_an_error():
    """Each fold's logits are float16 numbers, their sum is none; nnU-Net would call it infinite."""
    logits = np.full((1, 6, 4, 4, 4), 30000, np.float32)
    arguments = (
        random_volume((4, 4, 4), 3),
        (4, 4, 4),
        lambda _: logits,
        [(0, 0, 0)],
        np.ones((4, 4, 4), np.float32),
    )
    np.testing.assert_array_equal(blend_windows(*arguments, sums=SumsInFloat16()), logits[0])
    with pytest.raises(BackendError, match="too large for sums in float16"):
        blend_windows(*arguments, sums=SumsInFloat16(), folds=3)


def test_logits_too_large_for_float16_are_an_error():
    """nnU-Net stops there too. In float32 they are none."""
    arguments = random_volume((9, 8, 8), 3), (8, 8, 8), lambda windows: np.float32(1e6) * predict(windows)
    arguments += ([(0, 0, 0), (1, 0, 0)], np.ones((8, 8, 8), np.float32))
    assert np.isfinite(blend_windows(*arguments)).all()
    with pytest.raises(
        BackendError, match=r"too large for sums in float16, in which nnU-Net adds up and which ends at 65504"
    ):
        blend_windows(*arguments, sums=SumsInFloat16())


def test_a_quotient_too_large_for_float16_is_an_error():
    """The sum of 65520 times the smallest weight is small; what it stands for is too large."""
    logits = np.full((1, 2, 4, 4, 4), 65520, np.float32)
    weights = np.full((4, 4, 4), 2**-24, np.float32)
    arguments = random_volume((4, 4, 4), 3), (4, 4, 4), lambda _: logits, [(0, 0, 0)], weights
    with pytest.raises(BackendError, match="too large for sums in float16"):
        blend_windows(*arguments, sums=SumsInFloat16())


@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [(0, 0, 0, 0), (1, 7, 7, 7)])
def test_nan_from_the_network_is_an_error(poison, place):
    def broken(windows):
        logits = predict(windows)
        logits[(slice(None), *place)] = poison
        return logits

    arguments = random_volume((9, 8, 8), 3), (8, 8, 8), broken, [(0, 0, 0), (1, 0, 0)]
    with pytest.raises(
        BackendError, match=r"NaN or Inf in the window\(s\) starting at \(0, 0, 0\): the weights"
    ):
        blend_windows(*arguments, np.ones((8, 8, 8), np.float32), sums=SumsInFloat16())


@pytest.mark.parametrize("sums", [None, "float32", "float16"])
def test_a_manifest_names_the_sums(sums, tmp_path):
    """Logits of a pipeline are float16 numbers where the manifest says so, and only there."""
    blending = {"scheme": "nnunet", "mode": "gaussian", "sigma_scale": 0.125}
    path = write_artifact(tmp_path / "model.onnx", 1, 2, (4, 3, 5), blending=blending, sums=sums)
    with Segmenter(path) as segmenter:
        assert segmenter._recipe.half_sums == (sums == "float16")
        logits = HostPipeline(segmenter._backend, segmenter._recipe).start_logits(
            random_volume((6, 5, 7), 1, 1)
        )()
    assert (logits == logits.astype(np.float16)).all() == (sums == "float16")
    assert isinstance(sums_of(sums == "float16", None), SumsInFloat16) == (sums == "float16")

"""The steps of nnU-Net's recipe against nnU-Net's and SciPy's own functions."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from nnunetv2.inference.sliding_window_prediction import compute_gaussian, compute_steps_for_sliding_window
from nnunetv2.preprocessing.cropping.cropping import crop_to_nonzero
from nnunetv2.preprocessing.normalization import default_normalization_schemes as theirs
from nnunetv2.preprocessing.resampling.default_resampling import determine_do_sep_z_and_axis
from scipy.ndimage import binary_fill_holes

from msdk_rt.artifact.vocabulary import CHANNEL_NORMALIZATIONS
from msdk_rt.errors import ArtifactError, BackendError, InputError
from msdk_rt.inference import nnunet_windows
from msdk_rt.inference.foreground import nonzero_box, without_holes
from msdk_rt.inference.normalisation import normalisation
from msdk_rt.inference.preparation import separate_axis

STATISTICS = {"mean": 90.0, "std": 140.0, "percentile_00_5": -300.0, "percentile_99_5": 900.0}
CT = {"scheme": "ct", "mean": 90.0, "std": 140.0, "low": -300.0, "high": 900.0}
SCHEMES = {
    "zscore": (theirs.ZScoreNormalization, False),
    "masked_zscore": (theirs.ZScoreNormalization, True),
    "ct": (theirs.CTNormalization, False),
    "rescale_to_01": (theirs.RescaleTo01Normalization, False),
    "rgb_to_01": (theirs.RGBTo01Normalization, False),
    "none": (theirs.NoNormalization, False),
}


@given(
    size=st.integers(2, 300),
    window=st.integers(2, 128),
    overlap=st.sampled_from([0.0, 0.25, 0.5, 0.7]),
)
def test_windows_start_where_nnunet_starts_them(size, window, overlap):
    size = max(size, window)
    (expected,) = compute_steps_for_sliding_window((size,), (window,), 1 - overlap)
    assert nnunet_windows.axis_starts(size, window, overlap) == expected


def test_slices_of_a_2d_network_are_taken_once():
    starts = nnunet_windows.plan_windows((3, 8, 8), (1, 8, 8), 0.5)
    assert starts == [(0, 0, 0), (1, 0, 0), (2, 0, 0)]


@pytest.mark.parametrize("window", [(16, 24, 20), (128, 128, 128), (5, 7, 64), (20, 192, 160)])
def test_gaussian_is_nnunets(window):
    expected = compute_gaussian(window, value_scaling_factor=10, device=torch.device("cpu"))
    np.testing.assert_array_equal(nnunet_windows.importance(window, "gaussian", 1 / 8), expected.float())


def test_gaussian_of_slices_is_that_of_two_axes():
    expected = compute_gaussian((24, 20), value_scaling_factor=10, device=torch.device("cpu"))
    found = nnunet_windows.importance((1, 24, 20), "gaussian", 1 / 8)
    np.testing.assert_array_equal(found[0], expected.float())


def test_constant_weights_are_ones():
    assert (nnunet_windows.importance((2, 3, 4), "constant", 1 / 8) == 1).all()


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_holes_are_those_of_scipy(data):
    shape = data.draw(st.tuples(*[st.integers(1, 8)] * 3))
    density = data.draw(st.sampled_from([0.1, 0.5, 0.7, 0.9]))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    mask = rng.random(shape) < density
    np.testing.assert_array_equal(without_holes(mask), binary_fill_holes(mask))


def test_holes_of_a_winding_corridor_are_none():
    """A path that turns at every row: each turn takes a round of sweeps."""
    mask = np.ones((9, 9, 9), bool)
    for row in range(1, 8, 2):
        mask[4, row, 1:8] = False
        mask[4, row + 1, 7 if row % 4 == 1 else 1] = False
    mask[4, 8, :] = True
    mask[4, 0, 1] = False
    np.testing.assert_array_equal(without_holes(mask), binary_fill_holes(mask))
    assert not without_holes(mask)[4, 7, 4]


@pytest.mark.parametrize("filled", [True, False])
def test_box_is_nnunets(filled):
    volume = np.zeros((2, 9, 8, 7), np.float32)
    if filled:
        volume[0, 2:5, 3, 1:6] = 4
        volume[1, 6, 3, 6] = -2
    _, _, expected = crop_to_nonzero(volume)
    assert [[side.start, side.stop] for side in nonzero_box(volume)] == expected


@pytest.mark.parametrize("scheme", CHANNEL_NORMALIZATIONS)
def test_normalisation_is_nnunets(scheme):
    volume = np.random.default_rng(4).normal(110, 30, (2, 12, 11, 10)).clip(0, 255).astype(np.float32)
    volume[:, :3] = 0
    volume[0, 5, 5, 5] = 0
    _, segmentation, _ = crop_to_nonzero(volume)
    cropped = volume[(slice(None), *nonzero_box(volume))]
    kind, masked = SCHEMES[scheme]
    formula = kind(use_mask_for_norm=masked, intensityproperties=STATISTICS)
    expected = np.stack([formula.run(channel.copy(), segmentation[0]) for channel in cropped])
    before = cropped.copy()

    found = normalisation([CT if scheme == "ct" else {"scheme": scheme}] * 2).on_host(cropped)

    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=2e-6)
    np.testing.assert_array_equal(cropped, before)
    assert found.dtype == np.float32


def test_a_constant_channel_becomes_zero():
    volume = np.full((3, 4, 5, 6), 7, np.float32)
    found = normalisation([{"scheme": "zscore"}, {"scheme": "masked_zscore"}, {"scheme": "none"}])
    assert [float(channel.max()) for channel in found.on_host(volume)] == [0, 0, 7]


def test_colours_out_of_range_are_refused():
    with pytest.raises(InputError, match="intensities from 0 to 256, and the model takes colours"):
        normalisation([{"scheme": "rgb_to_01"}]).on_host(np.array([[[[0, 256]]]], np.float32))


def test_normalisations_by_channel_stay_on_the_host():
    with pytest.raises(BackendError, match="run on the host"):
        normalisation([{"scheme": "none"}]).on_device(None)


def test_an_unknown_scheme_is_refused():
    with pytest.raises(ArtifactError, match="normalization 'mine' is not known"):
        normalisation([{"scheme": "mine"}])


SPACINGS = [(1, 1, 1), (3, 1, 1), (3.01, 1, 1), (1, 5, 1), (5, 5, 1), (0.2, 1.25, 1.25), (1, 1, 9), (9, 3, 2)]


@pytest.mark.parametrize("current", SPACINGS)
@pytest.mark.parametrize("new", SPACINGS)
@pytest.mark.parametrize(("rule", "forced"), [("auto", None), ("always", True), ("never", False)])
def test_separate_axis_is_nnunets(current, new, rule, forced):
    separate, axis = determine_do_sep_z_and_axis(forced, current, new)
    assert separate_axis(rule, current, new) == (int(axis) if separate else None)

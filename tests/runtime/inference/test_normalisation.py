"""Normalisation against MONAI's NormalizeIntensity."""

import numpy as np
import pytest
from monai.transforms import NormalizeIntensity

from msdk_rt import ArtifactError, Segmenter
from msdk_rt.artifact.vocabulary import NORMALIZATIONS
from msdk_rt.inference.normalisation import normalisation, normalize
from tests.support.small_model import describe, write_artifact


@pytest.fixture
def artifact(tmp_path):
    return write_artifact(tmp_path / "model.onnx")


def monai_normalize(volume):
    return NormalizeIntensity(nonzero=True, channel_wise=True)(volume.copy()).numpy()


@pytest.mark.parametrize("seed", range(4))
def test_equals_monai(seed):
    print(f"seed {seed}")
    rng = np.random.default_rng(seed)
    volume = rng.gamma(2, 300, (3, 11, 7, 13)).astype(np.float32) * (rng.random((3, 11, 7, 13)) > 0.4)
    volume = volume.astype(np.float32)
    np.testing.assert_allclose(normalize(volume), monai_normalize(volume), rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize(
    "channel",
    [np.zeros(60), np.full(60, 7.0), np.r_[np.zeros(59), 3.0], np.r_[np.zeros(30), np.full(30, -2.0)]],
    ids=["zero", "constant", "one voxel", "half constant"],
)
def test_degenerate_channels_equal_monai(channel):
    volume = channel.astype(np.float32).reshape(1, 3, 4, 5)
    np.testing.assert_array_equal(normalize(volume), monai_normalize(volume))


@pytest.mark.parametrize("unit", [1e-37, 1e-25, 1e18, 1e30])
def test_the_unit_of_the_intensities_does_not_matter(unit):
    """Squares of these leave float32's range, in which a sum of them would be 0 or infinite."""
    volume = np.random.default_rng(8).gamma(2, 1, (1, 9, 8, 7)).astype(np.float32)
    scaled = volume * np.float32(unit)
    np.testing.assert_allclose(normalize(scaled), normalize(volume), rtol=1e-4, atol=1e-5)


def test_large_offset_keeps_its_digits():
    """Intensities near 10,000 with a deviation of 1: naive float32 sums lose them."""
    rng = np.random.default_rng(5)
    volume = (10_000 + rng.standard_normal((1, 64, 64, 65))).astype(np.float32)
    exact = (volume - volume.mean(dtype=np.float64)) / volume.std(dtype=np.float64)
    np.testing.assert_allclose(normalize(volume), exact, atol=1e-3)


def test_input_is_left_alone_and_output_is_float32():
    volume = np.arange(24, dtype=np.int16).reshape(1, 2, 3, 4)[..., ::-1]
    before = volume.copy()
    normalized = normalize(volume)
    assert normalized.dtype == np.float32
    assert normalized.flags.c_contiguous
    np.testing.assert_array_equal(volume, before)
    assert normalized[0, 0, 0, -1] == 0


def test_every_name_of_the_manifest_is_carried_out():
    volume = np.random.default_rng(3).gamma(2, 300, (2, 5, 4, 3)).astype(np.float32)
    for name in NORMALIZATIONS:
        assert normalisation(name).on_host(volume).shape == volume.shape


def test_a_name_that_the_checks_accept_but_nobody_implements_is_refused(artifact, monkeypatch):
    monkeypatch.setattr("msdk_rt.artifact.manifest_rules._RULES", {})
    describe(artifact, normalization="minmax")
    with pytest.raises(ArtifactError, match=r"normalization 'minmax' is not known .* nonzero_zscore, none"):
        Segmenter(artifact)

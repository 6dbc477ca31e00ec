"""The comparison of logits that come from several folds."""

import numpy as np
import pytest

from msdk_export.parity import mean_of_folds, measure_parity

FOLDS = 3


@pytest.fixture
def logits():
    """(1, FOLDS * 2, D, H, W)."""
    return np.random.default_rng(6).standard_normal((1, 2 * FOLDS, 3, 5, 7)).astype(np.float32)


def measured(found, expected, activation="softmax"):
    windows = {"random": np.zeros((1, 1, 3, 5, 7), np.float32)}
    return measure_parity({"random": expected}, lambda _: found, windows, activation, folds=FOLDS)["random"]


def test_the_mean_is_over_folds(logits):
    by_fold = [logits[:, 2 * fold : 2 * fold + 2] for fold in range(FOLDS)]
    np.testing.assert_allclose(mean_of_folds(logits, FOLDS), sum(by_fold) / FOLDS, rtol=1e-5, atol=1e-6)
    assert mean_of_folds(logits, None) is logits


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_labels_are_those_of_the_folds_mean(logits, activation):
    """Folds that were swapped have the labels that they had; their errors show it all the same."""
    swapped = np.roll(logits, 2, axis=1)
    parity = measured(swapped, logits, activation)
    assert parity["label_agreement"] == parity["least_dice"] == 1
    assert parity["relative_error"] > 0.1


def test_a_fold_that_changes_the_mean_changes_labels(logits):
    other = logits.copy()
    other[:, :2] = 4 * logits[:, 1::-1]
    found, expected = (
        np.stack([values[0, 0::2].sum(0), values[0, 1::2].sum(0)]).argmax(0) for values in (other, logits)
    )
    assert measured(other, logits)["label_agreement"] == pytest.approx(np.mean(found == expected))
    assert not (found == expected).all()

"""Recipes that crop, normalise by channel and resample: on the host and around a device, arrays and files."""

import itertools
import math

import nibabel
import numpy as np
import pytest

from msdk_rt import InputError, Segmenter
from msdk_rt.inference import host
from msdk_rt.inference.resampling import resample, resample_to_labels
from msdk_rt.inference.stages import Stages
from msdk_rt.inference.windows import plan_windows
from tests.support.segmenters_on_device import WINDOW, check_equal, put, volume_of
from tests.support.segmenters_on_device import model as write_model

LINEAR = {"order": 1, "separate_z": "auto", "order_z": 0}
RESAMPLING = {"spacing": [1.5, 1.0, 1.2], "image": LINEAR | {"order": 3}, "logits": LINEAR}
RECIPE = {
    "normalization": [{"scheme": "zscore"}, {"scheme": "none"}],
    "crop": "nonzero",
    "resampling": RESAMPLING,
    "blending": {"scheme": "nnunet", "mode": "gaussian", "sigma_scale": 0.125},
    "mirror_axes": (1,),
    "orientation": "ZYX",
}
SPACING = (1.0, 1.3, 1.2)


def padded(seed, margin=2):
    """A volume with voxels around it that are 0 in both channels."""
    return np.pad(volume_of(seed, 2) + 1, [(0, 0), *[(margin, margin)] * 3])


def test_a_device_is_around_the_windows(tmp_path, device):
    """The same recipe with the windows on an emulated device and on the host."""
    path = write_model(tmp_path, 2, 3, **RECIPE)
    with Segmenter(path) as on_device:
        found = on_device.run([padded(1), padded(2)], return_probabilities=True, spacing=SPACING)
        stages = Stages()
        on_device._segment(padded(1), stages=stages, spacing=SPACING)
        with pytest.raises(InputError, match="crop, normalisation and resampling run on the host"):
            on_device.run(put(device, padded(1))[0])
    assert list(stages.seconds)[:3] == ["crop", "normalise", "resample"]
    assert "windows" in stages.seconds
    for mine, theirs in zip(found, _by_hand(path, [padded(1), padded(2)]), strict=True):
        check_equal(mine, theirs)


def _by_hand(path, volumes):
    """The recipe step by step, from the functions that are tested by themselves."""
    from msdk_rt.imaging.results import Segmentation
    from msdk_rt.inference.host import HostPipeline
    from msdk_rt.inference.labels import probabilities_of
    from msdk_rt.inference.normalisation import normalisation

    segmenter = Segmenter(path)
    host = HostPipeline(segmenter._backend, segmenter._recipe.of_prepared())
    for volume in volumes:
        inside = volume[:, 2:-2, 2:-2, 2:-2]
        normalised = normalisation(RECIPE["normalization"]).on_host(inside)
        sides = zip(SPACING, RESAMPLING["spacing"], inside.shape[1:], strict=True)
        shape = tuple(round(own / new * size) for own, new, size in sides)
        logits = host.start_logits(resample(normalised, shape, order=3))()
        labels, maps = np.zeros(volume.shape[1:], np.uint8), np.zeros((3, *volume.shape[1:]), np.float32)
        maps[0] = 1
        back = resample_to_labels(logits, inside.shape[1:], [0, 1, 2], "softmax")
        labels[2:-2, 2:-2, 2:-2] = back
        maps[:, 2:-2, 2:-2, 2:-2] = probabilities_of(resample(logits, inside.shape[1:], order=1), "softmax")
        yield Segmentation(labels, maps)


def test_host_and_hand_agree(tmp_path):
    path = write_model(tmp_path, 2, 3, **RECIPE)
    volume = padded(3)
    found = Segmenter(path).run(volume, return_probabilities=True, spacing=SPACING)
    (expected,) = _by_hand(path, [volume])
    check_equal(found, expected)
    assert (found.labels[:2] == 0).all()
    np.testing.assert_array_equal(found.probabilities[0, :2], 1)


def test_a_volume_of_zeros_is_not_cropped(tmp_path):
    path = write_model(tmp_path, 1, 2, crop="nonzero")
    found = Segmenter(path).run(np.zeros((1, 6, 7, 8), np.float32))
    assert found.shape == (6, 7, 8)


@pytest.mark.parametrize("axes", ["".join(order) for order in itertools.permutations("XYZ")])
def test_files_axes_in_any_order(axes, tmp_path):
    """The same labels as for the array in the network's order, turned back."""
    path = write_model(tmp_path, 1, 2, orientation=axes, resampling=RESAMPLING, normalization="none")
    voxels = np.random.default_rng(7).gamma(2, 1, (9, 8, 7)).astype(np.float32)
    sides = (1.0, 1.4, 0.8)
    nibabel.save(nibabel.Nifti1Image(voxels, np.diag([-sides[0], sides[1], sides[2], 1])), tmp_path / "a.nii")
    order = ["XYZ".index(axis) for axis in axes]
    segmenter = Segmenter(path)

    found = segmenter.run(tmp_path / "a.nii").labels

    expected = segmenter.run(voxels.transpose(order)[None], spacing=[sides[axis] for axis in order])
    np.testing.assert_array_equal(found.transpose(order), expected)


@pytest.mark.parametrize(
    ("spacing", "sentence"),
    [
        (None, r"an array has none: pass spacing=\(D, H, W\)"),
        ((1, 1), "spacing must be three lengths"),
        ((1, 1, 0), "spacing must be three lengths"),
        ((1, 1, float("nan")), "spacing must be three lengths"),
        ("1 1 1", "spacing must be three lengths"),
        ((0.1, 0.01, 0.1), "expected at least one voxel along each axis"),
    ],
)
def test_bad_spacing_is_refused(spacing, sentence, tmp_path):
    segmenter = Segmenter(write_model(tmp_path, 1, 2, resampling=RESAMPLING))
    with pytest.raises(InputError, match=sentence):
        segmenter.run(volume_of(1), spacing=spacing)


def test_windows_are_counted_at_the_networks_spacing(tmp_path):
    segmenter = Segmenter(write_model(tmp_path, 1, 2, resampling=RESAMPLING))
    assert segmenter.count_windows(WINDOW, RESAMPLING["spacing"]) == 1
    doubled = plan_windows([2 * side for side in WINDOW], WINDOW, 0.5)
    assert segmenter.count_windows(WINDOW, [2 * side for side in RESAMPLING["spacing"]]) == len(doubled)
    with pytest.raises(InputError, match="pass spacing="):
        segmenter.count_windows(WINDOW)


def test_mirror_axes_are_the_models_unless_others_are_given(tmp_path):
    path = write_model(tmp_path, 1, 2, mirror_axes=(0, 2))
    assert Segmenter(path).mirror_axes == (0, 2)
    assert Segmenter(path, mirror_axes=()).mirror_axes == ()
    assert Segmenter(path, mirror_axes=(1,)).mirror_axes == (1,)


@pytest.mark.parametrize("at_once", [1, 3, 8])
def test_mirrored_views_are_the_same_however_many_run_at_once(at_once, tmp_path, monkeypatch):
    path = write_model(tmp_path, 2, 3, mirror_axes=(0, 1, 2), activation="sigmoid")
    volume = volume_of(3, 2)
    segmenter = Segmenter(path, batch_size=2)
    counts, infer = [], segmenter._backend.infer

    def counted(windows):
        counts.append(len(windows))
        return infer(windows)

    monkeypatch.setattr(segmenter._backend, "infer", counted)
    expected = segmenter.run(volume, return_probabilities=True)
    assert counts[0] == 16  # small windows: both with all of their views
    monkeypatch.setattr(host, "VOXELS_AT_ONCE", 2 * at_once * math.prod(WINDOW))
    counts.clear()
    check_equal(segmenter.run(volume, return_probabilities=True), expected, "sigmoid")
    assert max(counts) == 2 * at_once

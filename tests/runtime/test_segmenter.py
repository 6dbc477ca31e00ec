"""Segmenter: the answer against a NumPy network under MONAI, every kind of input, every refusal."""

import threading

import nibabel
import numpy as np
import pytest
import torch
from monai.inferers import sliding_window_inference
from monai.transforms import NormalizeIntensity

import msdk_rt
from msdk_rt import BackendError, InputError, Segmentation, Segmenter
from msdk_rt.artifact.vocabulary import BLENDS
from tests.support.small_model import WINDOW, describe, small_network, write_artifact

SHAPE = (11, 9, 13)


def random_volume(channels=1, shape=SHAPE, seed=0):
    return np.random.default_rng(seed).gamma(2, 100, (channels, *shape)).astype(np.float32)


def expected_logits(volume, classes, network=small_network, **options):
    """The whole pipeline by MONAI, with the network in NumPy."""
    normalized = NormalizeIntensity(nonzero=True, channel_wise=True)(volume.copy())
    return sliding_window_inference(
        normalized[None],
        WINDOW,
        1,
        lambda windows: torch.from_numpy(network(windows.numpy(), classes)),
        **{"overlap": 0.5, "mode": "gaussian"} | options,
    )[0].numpy()


@pytest.mark.parametrize(
    ("channels", "classes", "shape"),
    [(1, 2, SHAPE), (3, 4, (20, 5, 8)), (2, 3, (1, 14, 15)), (1, 5, (3, 3, 3))],
)
@pytest.mark.parametrize("batch_size", [1, 4])
def test_equals_monai(tmp_path, channels, classes, shape, batch_size):
    path = write_artifact(tmp_path / "model.onnx", channels, classes)
    volume = random_volume(channels, shape)
    logits = expected_logits(volume, classes)
    result = Segmenter(path, batch_size=batch_size).run(volume, return_probabilities=True)
    softmax = torch.from_numpy(logits).softmax(0).numpy()
    np.testing.assert_allclose(result.probabilities, softmax, atol=1e-4)
    assert np.mean(result.labels == logits.argmax(0)) > 0.999
    assert result.labels.dtype == np.uint8


@pytest.mark.parametrize(("inside", "outside"), [(0, 0), (7, 7), (-3e38, -3e38), (5, 0), (1e-45, 0)], ids=str)
def test_volumes_without_variance(artifact, inside, outside):
    """All background, all one value, one value in a background: z-scores are zero, as every window is."""
    volume = np.full((1, *SHAPE), outside, np.float32)
    volume[0, 2:6, 3:7, 4:8] = inside
    result = Segmenter(artifact).run(volume, return_probabilities=True)
    background = Segmenter(artifact).run(np.zeros_like(volume), return_probabilities=True)
    np.testing.assert_array_equal(result.probabilities, background.probabilities)
    np.testing.assert_array_equal(result.labels, background.labels)
    np.testing.assert_allclose(result.probabilities.sum(axis=0), 1, rtol=1e-6)


def test_settings_reach_the_windows(artifact):
    volume = random_volume()
    segmenter = Segmenter(artifact, overlap=0.25, blend="constant")
    logits = expected_logits(volume, 2, overlap=0.25, mode="constant")
    assert np.mean(segmenter.run(volume) == logits.argmax(0)) > 0.999
    assert segmenter.count_windows(SHAPE) == 2 * 2 * 3


def test_mirroring_averages_the_logits_of_every_flip(artifact):
    def mirrored(windows, classes):
        flips = [(), (2,), (4,), (2, 4)]
        return np.mean(
            [np.flip(small_network(np.flip(windows, axes), classes), axes) for axes in flips], 0, np.float32
        )

    volume = random_volume()
    result = Segmenter(artifact, mirror_axes=(2, 0)).run(volume, return_probabilities=True)
    softmax = torch.from_numpy(expected_logits(volume, 2, mirrored)).softmax(0).numpy()
    np.testing.assert_allclose(result.probabilities, softmax, atol=1e-4)


def test_label_values_come_from_the_manifest(artifact):
    describe(artifact, labels={"tissue": 7, "background": 300})
    volume = random_volume()
    labels = Segmenter(artifact).run(volume)
    assert labels.dtype == np.uint16
    order = expected_logits(volume, 2).argmax(0)
    assert np.mean(labels == np.array([7, 300])[order]) > 0.999


def test_overlapping_regions(tmp_path):
    path = write_artifact(
        tmp_path / "model.onnx", 1, 3, activation="sigmoid", labels={"wt": 2, "tc": 1, "et": 4}
    )
    volume = random_volume()
    result = Segmenter(path).run(volume, return_probabilities=True)
    probabilities = torch.from_numpy(expected_logits(volume, 3)).sigmoid().numpy()
    np.testing.assert_allclose(result.probabilities, probabilities, atol=1e-4)
    expected = np.zeros(SHAPE)
    for region, value in zip(probabilities, (2, 1, 4), strict=True):
        expected[region > 0.5] = value
    assert np.mean(result.labels == expected) > 0.999
    assert set(np.unique(expected)) == {0, 1, 2, 4}


def test_no_normalisation_on_request(artifact):
    describe(artifact, normalization="none")
    volume = random_volume()
    before = volume.copy()
    assert Segmenter(artifact).run(volume).shape == SHAPE
    np.testing.assert_array_equal(volume, before)


def test_the_blend_is_the_manifests_unless_it_is_given(artifact):
    volume, settings = random_volume(), {"return_probabilities": True}
    gaussian, constant = (
        Segmenter(artifact, blend=blend).run(volume, **settings).probabilities for blend in BLENDS
    )
    assert not np.array_equal(gaussian, constant)
    np.testing.assert_array_equal(Segmenter(artifact).run(volume, **settings).probabilities, gaussian)
    describe(artifact, blending={"scheme": "monai", "mode": "constant", "sigma_scale": 0.125})
    np.testing.assert_array_equal(Segmenter(artifact).run(volume, **settings).probabilities, constant)
    np.testing.assert_array_equal(
        Segmenter(artifact, blend="gaussian").run(volume, **settings).probabilities, gaussian
    )


def test_what_goes_in_says_what_comes_out(artifact, tmp_path):
    volume = random_volume()
    segmenter = Segmenter(artifact)
    labels = segmenter.run(volume)
    assert isinstance(labels, np.ndarray)

    batch = segmenter.run(np.stack([volume, volume * 2 + 1]))
    assert [item.shape for item in batch] == [SHAPE, SHAPE]
    np.testing.assert_array_equal(batch[0], labels)
    np.testing.assert_array_equal(segmenter.run([volume])[0], labels)

    path = tmp_path / "in.nii.gz"
    nibabel.save(nibabel.Nifti1Image(volume[0], np.eye(4)), path)
    for given in (path, str(path), [path], (path,)):
        result = segmenter.run(given)
        assert isinstance(result, Segmentation)
        np.testing.assert_array_equal(result.labels, labels)
        assert result.probabilities is None
    assert len(segmenter.run([[path], [path]])) == 2
    both = segmenter.run([volume, [path]], return_probabilities=True)
    np.testing.assert_array_equal(both[0].probabilities, both[1].probabilities)


@pytest.mark.parametrize(
    "convert",
    [
        np.asfortranarray,
        lambda volume: np.repeat(volume, 2, axis=3)[..., ::2],
        lambda volume: np.flip(np.flip(volume, 1).copy(), 1),
        lambda volume: volume.astype(np.float64),
        lambda volume: volume.astype(">f4"),
        lambda volume: volume.astype(np.int16),
        lambda volume: volume.astype(np.uint8),
        torch.from_numpy,
    ],
    ids=["fortran", "strided", "negative strides", "float64", "big endian", "int16", "uint8", "tensor"],
)
def test_layouts_and_types(artifact, convert):
    volume = np.floor(random_volume() / 10)
    segmenter = Segmenter(artifact)
    np.testing.assert_array_equal(segmenter.run(convert(volume)), segmenter.run(volume))


def bad_values(volume):
    volume[1, 0, 0, :4] = np.nan
    volume[1, 5, 5, 5] = np.inf
    return volume


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda v: v[0], r"shape \(11, 9, 13\), expected \(C, D, H, W\) with C = 2 \(m0, m1\)"),
        (lambda v: v[0, 0], r"shape \(9, 13\), expected"),
        (lambda v: v[None, None], r"shape \(1, 1, 2, 11, 9, 13\), expected"),
        (lambda v: 3.5, r"shape \(\), expected"),
        (lambda v: v[:1], r"got 1 channel\(s\), shape \(1, 11, 9, 13\), expected"),
        (lambda v: v[:, :0], r"empty array of shape \(2, 0, 9, 13\)"),
        (lambda v: v.astype(complex), "array of complex128, expected integers or real numbers"),
        (lambda v: v.astype(str), "array of <U"),
        (lambda v: v.astype(object), "array of object"),
        (lambda v: None, "array of object"),
        (lambda v: [], "got no volume"),
        (lambda v: v[None, :0][:0], "got no volume"),
        (lambda v: [v, []], r"shape \(0,\), expected"),
        (lambda v: [v, v[:, :, 0]], r"shape \(2, 11, 13\), expected"),
        (lambda v: [v, bad_values(v.copy())], "channel m1 has 4 NaN"),
        (lambda v: [[v, v[:1]]], "got a list that NumPy cannot read"),
        (lambda v: torch.from_numpy(v).requires_grad_(), "got a Tensor that NumPy cannot read"),
        (lambda v: torch.from_numpy(v).to("meta"), "got a Tensor that NumPy cannot read"),
        (bad_values, "channel m1 has 4 NaN and 1 infinite of 1287 voxels"),
        (lambda v: v.astype(np.float64) * 1e300, "channel m0 has 0 NaN and 1287 infinite"),
        (lambda v: ["a.nii.gz"], r"expected 2 file\(s\), one per channel \(m0, m1\), got 1"),
        (lambda v: "a.nii.gz", r"expected 2 file\(s\), one per channel"),
        (lambda v: ["a.nii.gz", "b.nii.gz"], "no file at a.nii.gz"),
    ],
)
def test_refused_before_inference(tmp_path, make, message, monkeypatch):
    segmenter = Segmenter(write_artifact(tmp_path / "model.onnx", channels=2))
    monkeypatch.setattr(segmenter._backend, "infer", lambda windows: pytest.fail("inference ran"))
    with pytest.raises(InputError, match=message):
        segmenter.run(make(random_volume(2)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"overlap": 1}, "overlap must be a fraction from 0 to below 1, got 1"),
        ({"overlap": -0.1}, "overlap must be"),
        ({"overlap": float("nan")}, "overlap must be"),
        ({"overlap": "half"}, "overlap must be"),
        ({"blend": "cosine"}, "blend must be gaussian or constant, got 'cosine'"),
        ({"batch_size": 0}, "batch_size must be"),
        ({"batch_size": 1.5}, "batch_size must be"),
        ({"mirror_axes": (3,)}, "mirror_axes must be"),
        ({"mirror_axes": (0, 0)}, "mirror_axes must be"),
        ({"threads": 0}, "threads must be"),
    ],
)
def test_settings_out_of_range(artifact, settings, message):
    with pytest.raises(InputError, match=message):
        Segmenter(artifact, **settings)


def test_results_of_files_lie_in_the_space_of_the_file(artifact, tmp_path):
    """The same brain stored as RAS and as LIP gives the same labels, each in its own axes."""
    ras = nibabel.Nifti1Image(random_volume()[0], np.diag([1, 2, 3, 1]))
    lip = ras.as_reoriented(
        nibabel.orientations.ornt_transform(
            nibabel.orientations.axcodes2ornt("RAS"), nibabel.orientations.axcodes2ornt("LIP")
        )
    )
    nibabel.save(ras, tmp_path / "ras.nii.gz")
    nibabel.save(lip, tmp_path / "lip.nii.gz")
    with Segmenter(artifact) as segmenter:
        expected = segmenter.run(tmp_path / "ras.nii.gz", return_probabilities=True)
        result = segmenter.run(tmp_path / "lip.nii.gz", return_probabilities=True)
    assert result.labels.shape == lip.shape
    np.testing.assert_array_equal(np.moveaxis(result.labels[::-1, ::-1, ::-1], 1, 2), expected.labels)
    result.save(tmp_path / "labels.nii.gz")
    result.save_probabilities(tmp_path / "maps.nii.gz")
    written = nibabel.as_closest_canonical(nibabel.load(tmp_path / "labels.nii.gz"))
    np.testing.assert_array_equal(written.get_fdata(), expected.labels)
    maps = nibabel.as_closest_canonical(nibabel.load(tmp_path / "maps.nii.gz"))
    np.testing.assert_array_equal(
        np.moveaxis(maps.get_fdata(dtype=np.float32), -1, 0), expected.probabilities
    )


def test_what_cannot_be_saved(artifact, tmp_path):
    result = Segmenter(artifact).run(random_volume(), return_probabilities=True)
    with pytest.raises(InputError, match="no voxel space"):
        result.save(tmp_path / "labels.nii.gz")
    with pytest.raises(InputError, match="return_probabilities=True"):
        Segmentation(result.labels).save_probabilities(tmp_path / "maps.nii.gz")


def test_several_threads_share_one_segmenter(artifact):
    segmenter = Segmenter(artifact, threads=1, batch_size=2)
    volumes = [random_volume(shape=(9 + index, 8, 10), seed=index) for index in range(6)]
    alone = [segmenter.run(volume) for volume in volumes]
    together = [None] * len(volumes)

    def work(index):
        together[index] = segmenter.run(volumes[index])

    threads = [threading.Thread(target=work, args=(index,)) for index in range(len(volumes))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for mine, theirs in zip(alone, together, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_closed(artifact):
    with Segmenter(artifact) as segmenter:
        assert segmenter.manifest.window == WINDOW
        assert "CPUExecutionProvider" in segmenter.providers
    with pytest.raises(BackendError, match="closed"):
        segmenter.run(random_volume())


def test_progress_is_shown_on_request(artifact, capsys):
    msdk_rt.Segmenter(artifact).run(random_volume(), progress=True)
    captured = capsys.readouterr()
    assert "segment" in captured.err
    assert captured.out == ""
    msdk_rt.Segmenter(artifact).run(random_volume())
    assert capsys.readouterr().err == ""

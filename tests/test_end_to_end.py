"""From a network in PyTorch to labels in a NIfTI file, against PyTorch float32 under MONAI's inferer."""

import nibabel
import numpy as np
import pytest
import torch
from monai.inferers import sliding_window_inference
from monai.transforms import NormalizeIntensity
from nibabel.orientations import axcodes2ornt, ornt_transform

import msdk_rt
from msdk_export.models import MSDKMamba, MSDKMambaConfig

SEED = 20
SHAPE = (70, 61, 83)
CHANNELS = ("flair", "t1")
LABELS = {"background": 0, "necrosis": 1, "edema": 2, "enhancing": 4}
CONFIG = MSDKMambaConfig(in_channels=2, num_classes=4, dims=(8, 12, 16), depths=(1, 1, 1), d_state=4)
LABEL_AGREEMENT = 0.9999
RELATIVE_ERROR = 1e-3


@pytest.fixture(scope="module")
def volume():
    """(C, D, H, W): skewed, blurred noise, and zero outside a ball as where a skull was removed."""
    rng = np.random.default_rng(SEED)
    noise = torch.from_numpy(rng.standard_normal((1, 2, *SHAPE), np.float32))
    smooth = torch.nn.functional.avg_pool3d(noise, 5, stride=1, padding=2)[0].numpy()
    axes = np.meshgrid(*(np.linspace(-1, 1, side) for side in SHAPE), indexing="ij")
    ball = np.linalg.norm(axes, axis=0) < 1.1
    return (300 * np.exp(4 * smooth + 0.2 * noise[0].numpy()) * ball).astype(np.float32)


@pytest.fixture(scope="module")
def network(volume):
    """Random weights, the heads' scaled so that every class wins somewhere."""
    torch.manual_seed(SEED)
    network = MSDKMamba(CONFIG).eval()
    with torch.inference_mode():
        logits = network(torch.from_numpy(normalized(volume)[None, :, :64, :48, :64]))
    deviation, mean = torch.std_mean(logits, dim=(0, 2, 3, 4))
    with torch.no_grad():
        for head in network.heads:
            head.weight /= deviation[:, None, None, None, None]
            head.bias /= deviation
        network.heads[0].bias -= mean / deviation
    return network


@pytest.fixture(scope="module")
def artifact(request, network, volume, tmp_path_factory):
    """The network exported with a window of this side, and the side."""
    path, side = tmp_path_factory.mktemp("artifact") / "model.onnx", request.param
    msdk_rt.export(network, path, window=(side,) * 3, channels=CHANNELS, labels=LABELS, sample=volume)
    return path, side


def normalized(volume):
    return np.asarray(NormalizeIntensity(nonzero=True, channel_wise=True)(volume.copy()))


def pytorch_logits(predict, volume, side):
    """(K, D, H, W) of windows of this side."""
    image = torch.from_numpy(normalized(volume)[None])
    with torch.inference_mode():
        logits = sliding_window_inference(image, (side,) * 3, 4, predict, overlap=0.5, mode="gaussian")
    return logits[0].numpy()


def centred(logits):
    """Logits less their mean over the classes: all that softmax leaves of them."""
    return logits - logits.mean(0)


def assert_agrees(labels, probabilities, logits):
    """labels (D, H, W) and probabilities (K, D, H, W) of the runtime against PyTorch's logits."""
    values = np.array(list(LABELS.values()))
    expected = values[logits.argmax(0)]
    shares = {value: np.mean(expected == value) for value in values}
    agreement = np.mean(labels == expected)
    found, reference = centred(np.log(probabilities)), centred(logits)
    relative = np.abs(found - reference).max() / np.abs(reference).max()
    softmax = torch.from_numpy(logits).softmax(0).numpy()
    probability_error = np.abs(probabilities - softmax).max()
    print(
        f"label agreement {agreement:.6f}, relative error of the logits {relative:.2e}, largest error of a "
        f"probability {probability_error:.2e}; shares",
        {int(value): f"{shares[value]:.3f}" for value in shares},
    )
    assert sum(share >= 0.01 for share in shares.values()) >= 3
    assert agreement >= LABEL_AGREEMENT
    assert relative <= RELATIVE_ERROR
    assert probability_error <= RELATIVE_ERROR * softmax.max()


@pytest.mark.parametrize("artifact", [32, 64], indirect=True)
def test_array_and_files(artifact, network, volume, tmp_path):
    path, side = artifact
    logits = pytorch_logits(network, volume, side)

    with msdk_rt.Segmenter(path) as segmenter:
        result = segmenter.run(volume, return_probabilities=True)
        paths = write_files(volume, tmp_path)
        stored = segmenter.run(paths, return_probabilities=True)
    stored.save(tmp_path / "labels.nii.gz")
    stored.save_probabilities(tmp_path / "probabilities.nii")

    assert_agrees(result.labels, result.probabilities, logits)
    labels, maps = (nibabel.load(tmp_path / name) for name in ("labels.nii.gz", "probabilities.nii"))
    assert labels.shape == maps.shape[:3] == nibabel.load(paths[0]).shape
    np.testing.assert_array_equal(labels.affine, nibabel.load(paths[0]).affine)
    upright = nibabel.as_closest_canonical(labels)
    np.testing.assert_allclose(upright.affine, oblique_affine(), atol=1e-5)
    np.testing.assert_array_equal(np.asarray(upright.dataobj), result.labels)
    turned = nibabel.as_closest_canonical(maps).get_fdata(dtype=np.float32)
    np.testing.assert_array_equal(np.moveaxis(turned, -1, 0), result.probabilities)


@pytest.mark.parametrize("artifact", [32], indirect=True)
def test_mirrored(artifact, network, volume):
    path, side = artifact
    flips = [(), (2,), (4,), (2, 4)]

    def mirrored(windows):
        return torch.stack([network(windows.flip(axes)).flip(axes) for axes in flips]).mean(0)

    with msdk_rt.Segmenter(path, batch_size=3, mirror_axes=(0, 2)) as segmenter:
        result = segmenter.run(volume, return_probabilities=True)
    logits = pytorch_logits(mirrored, volume, side)

    assert_agrees(result.labels, result.probabilities, logits)


def oblique_affine():
    """RAS with 0.9 x 1.1 x 1.5 mm voxels, turned by 17 degrees about the z axis, then 11 about the x axis."""
    z, x = np.deg2rad(17), np.deg2rad(11)
    about_z = np.array([[np.cos(z), -np.sin(z), 0], [np.sin(z), np.cos(z), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]])
    affine = np.eye(4)
    affine[:3, :3] = about_x @ about_z @ np.diag([0.9, 1.1, 1.5])
    affine[:3, 3] = -31.5, 12.25, 140
    return affine


def write_files(volume, folder):
    """One file per channel, its axes stored as posterior, inferior, right."""
    turn = ornt_transform(axcodes2ornt("RAS"), axcodes2ornt("PIR"))
    paths = [folder / f"{channel}.nii.gz" for channel in CHANNELS]
    for path, channel in zip(paths, volume, strict=True):
        image = nibabel.Nifti1Image(channel, oblique_affine()).as_reoriented(turn)
        assert nibabel.aff2axcodes(image.affine) == ("P", "I", "R")
        nibabel.save(image, path)
    return paths

"""SegMamba against the published layers with the oracle's scan, in PyTorch and as an artifact."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.networks.blocks.dynunet_block import UnetResBlock as MonaiResBlock

import msdk_rt
from msdk_export.families.segmamba.unetr_blocks import UnetResBlock
from msdk_export.models import SegMamba, SegMambaConfig
from msdk_rt.artifact.manifest import read_manifest
from msdk_rt.backends.onnxruntime import open_session, run_session
from msdk_rt.errors import InputError
from tests.support.segmamba_reference import PublishedSegMamba

SEED = 7
CHANNELS = ("t1", "t1ce", "flair")
LABELS = {"background": 0, "necrosis": 1, "edema": 2, "tumour": 4, "other": 9}
SMALL = SegMambaConfig(
    in_channels=3,
    num_classes=5,
    dims=(5, 17, 7, 9),
    depths=(1, 1, 1, 1),
    hidden_size=11,
    nslices=(24, 6, 4, 3),
    d_state=3,
    d_conv=3,
)
WINDOW = (48, 16, 32)
RELATIVE_ERROR = 1e-5


def published(config):
    torch.manual_seed(SEED)
    return PublishedSegMamba(config).eval().requires_grad_(False)


def image(channels, window):
    return torch.randn(1, channels, *window, generator=torch.Generator().manual_seed(SEED))


def relative_error(found, expected):
    error = float(np.abs(np.asarray(found) - np.asarray(expected)).max() / np.abs(np.asarray(expected)).max())
    print(f"seed {SEED}, relative error {error:.1e}")
    return error


@pytest.mark.parametrize(
    ("config", "window"),
    [
        (SMALL, WINDOW),
        (SegMambaConfig(6, 2, (6, 6, 10, 4), (2, 1, 1, 2), 4, (64, 32, 2, 2), 4, 4, 3), (16, 48, 32)),
        (dataclasses.replace(SMALL, residual=False), WINDOW),
    ],
)
def test_logits_are_those_of_the_published_layers(config, window):
    """The second has blocks whose residual needs no convolution, the third is of before 2024-06-05."""
    reference, network = published(config), SegMamba(config).eval()
    network.load_state_dict(reference.state_dict(), strict=True)
    x = image(config.in_channels, window)

    with torch.inference_mode():
        assert relative_error(network(x), reference(x)) <= RELATIVE_ERROR


def test_bare_weights_become_an_artifact_with_the_logits_of_the_published_layers(tmp_path):
    reference = published(SMALL)
    torch.save(reference.state_dict(), tmp_path / "segmamba.pt")

    msdk_rt.export(
        tmp_path / "segmamba.pt",
        tmp_path / "model.onnx",
        window=WINDOW,
        channels=CHANNELS,
        labels=LABELS,
        config={"nslices": SMALL.nslices},
        sample=np.random.default_rng(SEED).standard_normal((3, *WINDOW), np.float32),
    )

    manifest = read_manifest(tmp_path / "model.onnx")
    assert manifest.family == "segmamba"
    assert SegMambaConfig(**manifest.config) == SMALL
    x = image(3, WINDOW)
    session = open_session(tmp_path / "model.onnx", ["CPUExecutionProvider"], 1)
    with torch.inference_mode():
        assert relative_error(run_session(session, x.numpy()), reference(x)) <= RELATIVE_ERROR


def test_keys_and_shapes_of_the_published_size():
    with torch.device("meta"):
        expected = PublishedSegMamba(SegMambaConfig()).state_dict()
        found = SegMamba().state_dict()

    assert {name: t.shape for name, t in found.items()} == {name: t.shape for name, t in expected.items()}
    parameters = sum(tensor.numel() for tensor in found.values())
    assert round(parameters / 1e6, 2) == 67.42, "the published model has 67.42 million parameters"


@pytest.mark.parametrize(("channels", "out_channels"), [(3, 7), (5, 5)])
def test_residual_block_is_monais(channels, out_channels):
    torch.manual_seed(SEED)
    expected = MonaiResBlock(3, channels, out_channels, 3, 1, "instance").eval()
    found = UnetResBlock(channels, out_channels).eval()
    found.load_state_dict(expected.state_dict(), strict=True)
    x = image(channels, (5, 3, 7))

    with torch.inference_mode():
        torch.testing.assert_close(found(x), expected(x))


def test_every_parameter_receives_a_gradient():
    model = SegMamba(SMALL).train()

    model(image(3, WINDOW)).square().mean().backward()

    silent = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    # Instance normalisation takes these biases away again.
    assert [name for name in silent if not name.endswith(".bias")] == []


@pytest.mark.parametrize("window", [(48, 32, 40), (16, 16, 16), (48, 48, 40), (0, 16, 16)])
def test_a_window_that_does_not_fit_is_named_with_one_that_does(window):
    with pytest.raises(InputError, match=r"window .* does not fit .*total stride 16.*\) fits$"):
        SegMamba(SMALL).check_image((1, 3, *window))


def test_the_published_slices_fit_the_windows_they_divide():
    config = SegMambaConfig()
    network = SegMamba(SegMambaConfig(dims=(2, 2, 2, 2), depths=(1, 1, 1, 1), hidden_size=2))

    for window in ((128, 128, 128), (96, 96, 96), (64, 64, 64), (160, 192, 128), (128, 16, 16)):
        assert config.fits(window)
    with pytest.raises(
        InputError, match=r"\(112, 112, 112\).*nslices \(64, 32, 16, 8\); \(128, 112, 112\) fits"
    ):
        network.check_image((1, 4, 112, 112, 112))


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    st.tuples(*[st.integers(2, 70)] * 4),
    st.tuples(*[st.integers(1, 200)] * 3),
)
def test_the_window_proposed_is_the_smallest_with_one_side_stretched(nslices, window):
    config = SegMambaConfig(nslices=nslices)

    proposed = config.enlarged(window)

    assert config.fits(proposed)
    rounded = [math.ceil(side / 16) * 16 for side in window]
    if config.fits(tuple(rounded)):
        assert proposed == tuple(rounded)
    for axis in range(3):
        for side in range(rounded[axis], rounded[axis] + 16 * 40, 16):
            other = (*rounded[:axis], side, *rounded[axis + 1 :])
            assert not config.fits(other) or math.prod(other) >= math.prod(proposed)


def test_export_refuses_a_window_that_does_not_fit_and_leaves_nothing(tmp_path):
    torch.save(SegMamba(SMALL).state_dict(), tmp_path / "segmamba.pt")

    with pytest.raises(InputError, match=r"window \(16, 16, 48\) does not fit"):
        msdk_rt.export(
            tmp_path / "segmamba.pt",
            tmp_path / "model.onnx",
            window=(16, 16, 48),
            channels=CHANNELS,
            labels=LABELS,
        )

    assert [file.name for file in tmp_path.iterdir()] == ["segmamba.pt"]


@pytest.mark.parametrize("shape", [(1, 2, *WINDOW), (3, *WINDOW)])
def test_an_image_of_other_channels_or_rank_is_refused(shape):
    with pytest.raises(InputError, match=r"expected an image \(B, 3, D, H, W\)"):
        SegMamba(SMALL).eval()(torch.zeros(shape))


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"dims": (8, 16, 32)}, r"dims must have one entry for each of the 4 stages, got \(8, 16, 32\)"),
        ({"depths": (1,) * 5}, "depths must have one entry"),
        ({"depths": (1, 1, 0, 1)}, r"depths\[2\] must be a whole number of at least 1, got 0"),
        ({"nslices": ()}, "nslices must have one entry"),
        ({"nslices": (64, 32, 16, 1)}, "nslices must be 2 or more"),
        ({"hidden_size": 7.5}, "hidden_size must be a whole number"),
        ({"residual": 1}, "residual must be true or false, got 1"),
        ({"expand": True}, "expand must be a whole number"),
    ],
)
def test_sizes_that_no_network_has_are_refused(sizes, message):
    with pytest.raises(InputError, match=message):
        SegMambaConfig(**sizes)

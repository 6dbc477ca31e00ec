"""The MSDKMamba network: shapes, heads, gradients, and the windows and sizes it refuses."""

import pytest
import torch

from msdk_export.models import MSDKMamba, MSDKMambaConfig, demo_config
from msdk_rt.errors import InputError

SMALL = MSDKMambaConfig(in_channels=2, num_classes=3, dims=(6, 10), depths=(1, 2), d_state=4)


def image(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("window", [(4, 12, 8), (8, 4, 20), (16, 16, 4)])
@pytest.mark.parametrize("channels", [1, 3])
def test_logits_have_the_images_resolution(window, channels):
    model = MSDKMamba(MSDKMambaConfig(channels, 5, dims=(4, 6), depths=(1, 1), d_state=2)).eval()

    with torch.inference_mode():
        logits = model(image(2, channels, *window))

    assert logits.shape == (2, 5, *window)
    assert logits.isfinite().all()


def test_demo_network_takes_an_anisotropic_window_and_stays_small():
    model = MSDKMamba(demo_config()).eval()

    with torch.inference_mode():
        assert model(image(1, 1, 32, 48, 16)).shape == (1, 4, 32, 48, 16)
    assert sum(parameter.numel() for parameter in model.parameters()) <= 1_000_000


def test_training_returns_every_scale_fine_to_coarse():
    model = MSDKMamba(MSDKMambaConfig(1, 3, dims=(4, 6, 8), depths=(1, 1, 1), d_state=2))

    fused, heads, features = model.train()(image(1, 1, 16, 32, 8))

    assert tuple(fused.shape) == (1, 3, 16, 32, 8)
    assert [tuple(head.shape) for head in heads] == [(1, 3, 16, 32, 8), (1, 3, 8, 16, 4), (1, 3, 4, 8, 2)]
    assert [tuple(x.shape) for x in features] == [(1, 2, 16, 32, 8), (1, 4, 8, 16, 4), (1, 6, 4, 8, 2)]


def test_fused_logits_in_training_are_the_output_in_evaluation():
    model = MSDKMamba(SMALL)
    x = image(1, 2, 8, 12, 4)

    with torch.no_grad():
        torch.testing.assert_close(model.train()(x).fused, model.eval()(x))


def test_fused_logits_see_every_scale():
    model = MSDKMamba(MSDKMambaConfig(1, 3, dims=(4, 6, 8), depths=(1, 1, 1), d_state=2)).train()
    scales = model(image(1, 1, 16, 32, 8))

    gradients = torch.autograd.grad(scales.fused.square().sum(), scales.heads)

    assert all(gradient.abs().max() > 0 for gradient in gradients)


def test_every_parameter_receives_a_gradient():
    model = MSDKMamba(SMALL).train()

    model(image(2, 2, 8, 12, 4)).fused.square().mean().backward()

    silent = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert silent == []


def test_batch_items_do_not_influence_each_other():
    model = MSDKMamba(SMALL).eval()
    x = image(3, 2, 8, 4, 12)

    with torch.inference_mode():
        torch.testing.assert_close(model(x)[1:2], model(x[1:2]), rtol=1e-4, atol=1e-5)


def test_a_token_sees_the_whole_window():
    model = MSDKMamba(MSDKMambaConfig(1, 2, dims=(4,), depths=(1,), d_state=2)).eval()
    for norm in (m for m in model.modules() if isinstance(m, torch.nn.InstanceNorm3d)):
        norm.forward = lambda x: x
    x = image(1, 1, 4, 4, 48).requires_grad_()

    model(x)[0, 0, 0, 0, 0].backward()

    assert (x.grad[0, 0, -1, -1, -4:].abs() > 0).all()


@pytest.mark.parametrize("window", [(8, 8, 6), (2, 8, 8), (4, 4, 4)])
def test_a_window_that_does_not_fit_is_named(window):
    with pytest.raises(
        InputError, match=rf"window \({window[0]}, {window[1]}, {window[2]}\).*total stride 4"
    ):
        MSDKMamba(SMALL).eval()(image(1, 2, *window))


@pytest.mark.parametrize("shape", [(1, 3, 8, 8, 8), (2, 8, 8, 8)])
def test_an_image_of_other_channels_or_rank_is_refused(shape):
    with pytest.raises(InputError, match=r"expected an image \(B, 2, D, H, W\)"):
        MSDKMamba(SMALL).eval()(image(*shape))


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"dims": ()}, "at least one"),
        ({"dims": (8, 16), "depths": (1,)}, "same stages"),
        ({"dims": (8, 0), "depths": (1, 1)}, r"dims\[1\] must be a whole number"),
        ({"depths": (1, 1, 1, 0)}, r"depths\[3\] must be a whole number"),
        ({"dims": (1,), "depths": (1,)}, r"dims\[0\] must be at least 2"),
        ({"d_state": 0}, "d_state must be a whole number"),
        ({"in_channels": 1.5}, "in_channels must be a whole number"),
        ({"kan_ratio": 0.0}, "kan_ratio must be a positive number, got 0.0"),
        ({"kan_ratio": 0.01}, "no hidden channel"),
        ({"kan_ratio": float("nan")}, "kan_ratio must be"),
        ({"kan_ratio": "half"}, "kan_ratio must be"),
        ({"scale": 0}, "scale must be a positive number, got 0"),
        ({"scale": "half"}, "scale must be a positive number"),
        ({"directions": ["forward"]}, "directions must be a string"),
        ({"directions": "sideways"}, "sideways"),
    ],
)
def test_sizes_that_no_network_has_are_refused(sizes, message):
    with pytest.raises(InputError, match=message):
        MSDKMambaConfig(**sizes)


def test_config_is_the_same_after_json():
    assert MSDKMambaConfig(dims=[4, 8], depths=[1, 1]) == MSDKMambaConfig(dims=(4, 8), depths=(1, 1))

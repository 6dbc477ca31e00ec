"""The layers against references written independently of them."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from msdk_export.layers import BiMamba, KANFeedForward, KANLinear, TokenNorm
from msdk_rt.errors import CheckpointError, InputError
from tests.support.oracle import bidirectional_selective_scan, directional_conv1d, kan_linear

SUFFIX = {"forward": "", "backward": "_b", "slices:3": "_s", "slices:5:backward": "_s_b"}
DIRECTIONS = [
    "forward",
    "backward",
    "forward,backward",
    "backward,slices:3",
    "forward,backward,slices:3",
    "slices:5:backward,forward,slices:3,backward",
]


def reference_bimamba(weights, tokens, directions, scale):
    """The block in float64, from its state dict and the oracle's ops."""
    w = {name: value.detach().double().numpy() for name, value in weights.items()}
    suffixes = [SUFFIX[direction] for direction in directions.split(",")]

    def stacked(pattern):
        return np.stack([w[pattern.format(suffix)] for suffix in suffixes])

    x, z = np.split(np.einsum("dc,bcl->bdl", w["in_proj.weight"], tokens), 2, axis=1)
    u = directional_conv1d(x, stacked("conv1d{}.weight")[:, :, 0], stacked("conv1d{}.bias"), directions)
    x_dbl = np.einsum("krd,bkdl->bkrl", stacked("x_proj{}.weight"), u)
    y = bidirectional_selective_scan(
        u,
        x_dbl,
        stacked("dt_proj{}.weight"),
        stacked("dt_proj{}.bias"),
        -np.exp(stacked("A{}_log")),
        stacked("D{}"),
        z,
        directions,
        scale,
    )
    return np.einsum("cd,bdl->bcl", w["out_proj.weight"], y)


def randomised(module, seed):
    """The module with every parameter moved, so that no initial zero or one hides a mistake."""
    print(f"seed {seed}")
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return module


@pytest.mark.parametrize("directions", DIRECTIONS)
@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_bimamba_is_the_sum_of_its_directed_scans(directions, scale):
    block = randomised(BiMamba(7, d_state=5, d_conv=3, expand=3, directions=directions, scale=scale), seed=11)
    tokens = torch.randn(2, 7, 45, generator=torch.Generator().manual_seed(12))

    expected = reference_bimamba(block.state_dict(), tokens.double().numpy(), directions, scale)

    np.testing.assert_allclose(block(tokens).detach(), expected, rtol=2e-4, atol=2e-5)


def test_bimamba_has_the_fields_parameter_names_and_shapes():
    block = BiMamba(40, directions="forward,backward,slices:4")
    shapes = {name: tuple(tensor.shape) for name, tensor in block.state_dict().items()}

    expected = {"in_proj.weight": (160, 40), "out_proj.weight": (40, 80)}
    for suffix in ("", "_b", "_s"):
        expected |= {
            f"conv1d{suffix}.weight": (80, 1, 4),
            f"conv1d{suffix}.bias": (80,),
            f"x_proj{suffix}.weight": (35, 80),
            f"dt_proj{suffix}.weight": (80, 3),
            f"dt_proj{suffix}.bias": (80,),
            f"A{suffix}_log": (80, 16),
            f"D{suffix}": (80,),
        }
    assert shapes == expected


def test_bimamba_starts_with_mambas_time_steps_and_decay():
    block = BiMamba(64)

    for projection in (block.dt_proj, block.dt_proj_b):
        dt = F.softplus(projection.bias)
        assert 0.00099 <= dt.min() < 0.004
        assert 0.04 < dt.max() <= 0.1001
    torch.testing.assert_close(block.A_b_log.exp()[3], torch.arange(1.0, 17.0))
    assert (block.D == 1).all()


def test_bimamba_visits_tokens_in_the_order_asked_for():
    forward, backward = BiMamba(4, directions="forward"), BiMamba(4, directions="backward")
    renamed = {BACKWARD_NAMES.get(name, name): value for name, value in forward.state_dict().items()}
    backward.load_state_dict(renamed)
    tokens = torch.randn(1, 4, 19)

    torch.testing.assert_close(backward(tokens.flip(-1)).flip(-1), forward(tokens), rtol=1e-5, atol=1e-6)


BACKWARD_NAMES = {
    name: name.replace("_log", "_b_log") if name.endswith("_log") else name.replace(stem, f"{stem}_b")
    for stem, names in {
        "conv1d": ["conv1d.weight", "conv1d.bias"],
        "x_proj": ["x_proj.weight"],
        "dt_proj": ["dt_proj.weight", "dt_proj.bias"],
        "A": ["A_log"],
        "D": ["D"],
    }.items()
    for name in names
}


@pytest.mark.parametrize("directions", ["forward,forward", "slices:2,slices:3", "backward,forward,slices:1"])
def test_bimamba_refuses_two_directions_with_one_set_of_names(directions):
    with pytest.raises(InputError, match="repeat a kind"):
        BiMamba(4, directions=directions)


def test_bimamba_gradients_are_those_of_finite_differences():
    block = randomised(BiMamba(2, d_state=2, d_conv=2, directions="forward,slices:3"), seed=3).double()
    tokens = torch.randn(1, 2, 6, dtype=torch.float64, requires_grad=True)

    assert torch.autograd.gradcheck(block, (tokens,), atol=1e-4, rtol=1e-3)


@settings(max_examples=25, deadline=None)
@given(
    sizes=st.tuples(*[st.integers(1, 9)] * 4),
    grid_size=st.integers(1, 8),
    spread=st.sampled_from([0.1, 1.0, 4.0]),
    seed=st.integers(0, 2**31),
)
def test_kan_linear_equals_the_cox_de_boor_recursion(sizes, grid_size, spread, seed):
    batch, inputs, outputs, length = sizes
    layer = randomised(KANLinear(inputs, outputs, grid_size), seed)
    tokens = spread * torch.randn(batch, inputs, length, generator=torch.Generator().manual_seed(seed))

    spline_weight = layer.spline_weight * layer.spline_scaler.unsqueeze(-1)
    expected = kan_linear(tokens, layer.base_weight.detach(), spline_weight.detach())

    np.testing.assert_allclose(layer(tokens).detach(), expected, rtol=1e-4, atol=2e-5)


def test_kan_linear_has_efficient_kans_state():
    state = KANLinear(3, 2).state_dict()

    assert {name: tuple(value.shape) for name, value in state.items()} == {
        "base_weight": (2, 3),
        "spline_weight": (2, 3, 8),
        "spline_scaler": (2, 3),
        "grid": (3, 12),
    }
    np.testing.assert_allclose(state["grid"][1], np.linspace(-2.2, 2.2, 12), atol=1e-6)


@pytest.mark.parametrize("shift", [0.01, float("nan")])
def test_kan_linear_refuses_an_adapted_grid(shift):
    layer = KANFeedForward(3)
    state = layer.state_dict()
    state["1.grid"] = state["1.grid"].clone()
    state["1.grid"][2, 5] += shift

    with pytest.raises(CheckpointError, match=r"1\.grid is not the uniform grid of 12 knots"):
        layer.load_state_dict(state)


def test_kan_linear_without_a_scaler_of_its_own_scales_by_one():
    state = randomised(KANLinear(3, 2), seed=6).state_dict()
    del state["spline_scaler"]
    layer = KANLinear(3, 2)
    layer.load_state_dict(state)
    assert layer.spline_scaler.tolist() == [[1, 1, 1]] * 2

    with pytest.raises(RuntimeError, match=r"spline_weight.*spline_scaler"):
        layer.load_state_dict({"base_weight": state["base_weight"], "grid": state["grid"]})


def test_kan_linear_reports_a_grid_of_another_size_as_torch_does():
    with pytest.raises(RuntimeError, match="size mismatch for grid"):
        KANLinear(3, 2).load_state_dict(KANLinear(3, 2, grid_size=7).state_dict())


@pytest.mark.parametrize(("offset", "tolerance"), [(0.0, 1e-5), (300.0, 1e-3)])
def test_token_norm_is_layer_norm_over_channels(offset, tolerance):
    norm = randomised(TokenNorm(13), seed=5)
    reference = torch.nn.LayerNorm(13)
    reference.load_state_dict(norm.state_dict())
    tokens = torch.randn(2, 13, 31, generator=torch.Generator().manual_seed(6)) + offset

    expected = reference(tokens.transpose(1, 2)).transpose(1, 2)

    torch.testing.assert_close(norm(tokens), expected, rtol=1e-5, atol=tolerance)


def test_token_norm_keeps_its_statistics_in_float32():
    norm = TokenNorm(8)
    tokens = 300 * torch.randn(1, 8, 5, generator=torch.Generator().manual_seed(7))

    halved = norm(tokens.half())

    assert halved.dtype == torch.float16
    torch.testing.assert_close(halved.float(), norm(tokens.half().float()), rtol=1e-3, atol=1e-3)

"""State dicts without a description: family and sizes read from them, and what is said where that fails."""

import dataclasses
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from msdk_export.checkpoints import build_model
from msdk_export.families import identify, infer_config, recognise
from msdk_export.models import FAMILIES, MSDKMamba, MSDKMambaConfig, SegMamba, SegMambaConfig
from msdk_rt.errors import CheckpointError

SMALL = SegMambaConfig(3, 5, (5, 7, 6, 9), (1, 2, 1, 1), 11, d_state=3, d_conv=2, expand=1)
WIDTH = st.integers(1, 9)
FOUR = st.tuples(*[WIDTH] * 4)
DEPTHS = st.tuples(*[st.integers(1, 3)] * 4)
CHECKED = settings(max_examples=20, deadline=None, derandomize=True)


def state_of(family, config):
    """Names and shapes alone, without memory."""
    with torch.device("meta"):
        return FAMILIES[family][0](config).state_dict()


@pytest.fixture
def weights():
    torch.manual_seed(3)
    return SegMamba(SMALL).state_dict()


@CHECKED
@given(
    st.builds(
        SegMambaConfig,
        in_channels=WIDTH,
        num_classes=WIDTH,
        dims=FOUR,
        depths=DEPTHS,
        hidden_size=WIDTH,
        d_state=WIDTH,
        d_conv=st.integers(1, 5),
        expand=st.integers(1, 3),
    )
)
def test_segmamba_sizes_are_read_back(config):
    untold = ("nslices", "residual")
    assert identify({}, state_of("segmamba", config)) == (
        "segmamba",
        {name: size for name, size in dataclasses.asdict(config).items() if name not in untold},
    )


@CHECKED
@given(st.data())
def test_msd_kmamba_sizes_are_read_back(data):
    stages = data.draw(st.integers(1, 4))
    config = MSDKMambaConfig(
        in_channels=data.draw(WIDTH),
        num_classes=data.draw(WIDTH),
        dims=data.draw(st.tuples(*[st.integers(2, 40)] * stages)),
        depths=data.draw(st.tuples(*[st.integers(1, 2)] * stages)),
        d_state=data.draw(WIDTH),
        d_conv=data.draw(st.integers(1, 5)),
        expand=data.draw(st.integers(1, 3)),
        kan_grid=data.draw(st.integers(1, 7)),
        kan_ratio=data.draw(st.floats(0.3, 3)),
    )
    state = state_of("msd_kmamba", config)

    family, sizes = identify({}, state)

    assert family == "msd_kmamba"
    found = MSDKMambaConfig(**sizes)
    assert dataclasses.replace(found, kan_ratio=config.kan_ratio) == config
    rebuilt = state_of(family, found)
    assert {name: tensor.shape for name, tensor in rebuilt.items()} == {
        name: tensor.shape for name, tensor in state.items()
    }


def test_every_family_recognises_its_own_weights():
    for family, (_, config_type) in FAMILIES.items():
        assert recognise(state_of(family, config_type())) == family


def test_what_weights_cannot_tell_is_the_published_default_or_given(weights):
    assert build_model({}, weights).config == dataclasses.replace(SMALL, nslices=(64, 32, 16, 8))

    given = build_model({"config": {"nslices": [3, 5, 7, 9]}}, weights)

    assert given.config == dataclasses.replace(SMALL, nslices=(3, 5, 7, 9))
    assert given.vit.stages[2][0].mamba.directions == "forward,backward,slices:7"


def test_a_given_config_wins_over_the_weights(weights):
    with pytest.raises(CheckpointError, match=r"network of the checkpoint's config \(.*misshapen: .*A_log"):
        build_model({"config": {"d_state": 4}}, weights)


def test_a_given_family_wins_over_the_weights(weights):
    with pytest.raises(CheckpointError, match=r"do not fit the msd_kmamba network .* missing: stem\.weight"):
        build_model({"family": "msd_kmamba"}, weights)


@pytest.mark.parametrize("kept", [1, 2, 3, 7])
def test_partial_weights_name_the_family_and_what_is_missing(weights, kept):
    """Every kept-th tensor, from a block that tells the family on."""
    names = [name for index, name in enumerate(weights) if index % kept == 0 or "A_s_log" in name]
    names.remove("vit.stages.1.1.mamba.A_s_log")
    partial = {name: weights[name] for name in names}

    with pytest.raises(CheckpointError, match="segmamba network that they resemble most") as caught:
        build_model({}, partial)

    nearest = SegMambaConfig(**infer_config("segmamba", partial))
    missing = state_of("segmamba", nearest).keys() - partial.keys()
    assert f"({len(missing)} missing: " in str(caught.value)
    assert "unexpected" not in str(caught.value)


@pytest.mark.parametrize(
    "name",
    ["vit.stages.2.0.mamba.dt_proj_s.bias", "out.conv.conv.weight", "encoder1.layer.conv3.conv.weight"],
)
def test_one_missing_unexpected_or_misshapen_key_is_named(weights, name):
    shape = tuple(weights[name].shape)
    without = {key: tensor for key, tensor in weights.items() if key != name}

    with pytest.raises(CheckpointError, match=rf"\(1 missing: {re.escape(name)}\)"):
        build_model({}, without)
    with pytest.raises(CheckpointError, match=rf"\(1 unexpected: {re.escape(name)}s\)"):
        build_model({}, weights | {f"{name}s": weights[name]})
    wrong = torch.zeros(*shape[:-1], shape[-1] + 1)
    with pytest.raises(CheckpointError) as caught:
        build_model({}, weights | {name: wrong})
    assert f"{name} is {tuple(wrong.shape)}, expected {shape}" in str(caught.value)


def test_a_width_that_one_tensor_contradicts_is_that_tensors_fault(weights):
    """The sizes are those that most tensors have."""
    for name in ("vit.stages.0.0.norm.weight", "vit.gscs.3.proj2.bias", "vit.downsample_layers.0.0.weight"):
        shape = weights[name].shape
        with pytest.raises(CheckpointError, match=rf"\(1 misshapen: {re.escape(name)} is "):
            build_model({}, weights | {name: torch.zeros(*shape[:-1], shape[-1] + 2)})


def test_the_first_published_variant_is_told_apart(weights):
    """Two scans, an MLP in every block, no gated convolutions."""
    state = {
        name: tensor
        for name, tensor in weights.items()
        if ".gscs." not in name and ".mlps." not in name and "_s." not in name and "_s_" not in name
    }
    state["vit.stages.0.0.mlp.fc1.weight"] = torch.zeros(20, 5)

    with pytest.raises(
        CheckpointError, match=r"missing: .*1 unexpected: vit\.stages\.0\.0\.mlp\.fc1\.weight"
    ):
        build_model({}, state)


@pytest.mark.parametrize("count", [0, 1, 30])
def test_weights_of_no_known_family_are_shown(count):
    state = {f"swin.blocks.{index}.attn.qkv": torch.zeros(3) for index in range(count)}

    with pytest.raises(CheckpointError, match=rf"its {count} keys .*msd_kmamba, segmamba.*family=") as caught:
        build_model({}, state)

    assert all(name in str(caught.value) for name in list(state)[:8])
    assert (f"and {count - 8} more" in str(caught.value)) == (count > 8)


def test_tensors_without_the_expected_axes_are_not_asked():
    state = {"vit.gscs.0.proj.weight": torch.zeros(()), "vit.stages.0.0.mamba.A_log": torch.zeros(4)}

    assert "d_state" not in infer_config("segmamba", state)
    with pytest.raises(CheckpointError, match=r"2 misshapen: .*mamba\.A_log is \(4,\)"):
        build_model({"config": dataclasses.asdict(SMALL)}, state)


def test_recognised_msd_kmamba_network_computes_the_same():
    torch.manual_seed(5)
    model = MSDKMamba(MSDKMambaConfig(2, 3, (4, 7), (1, 2), d_state=3, kan_ratio=0.6)).eval()
    image = torch.randn(1, 2, 8, 12, 4)

    with torch.inference_mode():
        torch.testing.assert_close(build_model({}, model.state_dict())(image), model(image))

"""Blocks that other code built, adopted by names and shapes."""

import functools

import pytest
import torch
from torch import nn

from msdk_export import adopt
from msdk_export.layers import BiMamba
from msdk_export.models import MSDKMamba, MSDKMambaConfig
from msdk_rt.errors import ExportError, InputError
from tests.support.published_blocks import (
    FourWayMixer,
    SequenceMixer,
    UMambaBot,
    VimClassifier,
    VSSBlock,
    assert_computes,
    in_float64,
    randomised,
    tokens_of,
)

BLOCKS = {
    "plain": {},
    "plain, odd sizes": {"d_state": 5, "d_conv": 3, "d_inner": 9, "dt_rank": 4},
    "biases, none on the convolution": {"bias": True, "conv_bias": False, "d_conv": 2},
    "layer scale": {"init_layer_scale": 0.7},
    "v1": {"bimamba_type": "v1"},
    "v1, biases": {"bimamba_type": "v1", "bias": True, "conv_bias": False},
    "v2": {"bimamba_type": "v2", "if_divide_out": False},
    "v2, halved": {"bimamba_type": "v2", "if_divide_out": True},
    "v2, halved, Vim's spelling": {"bimamba_type": "v2", "if_devide_out": True, "init_layer_scale": 0.1},
    "v3": {"bimamba_type": "v3", "nslices": 5},
    "v3, biases": {"bimamba_type": "v3", "nslices": 7, "bias": True, "conv_bias": False},
    "slow path": {"bimamba_type": "v2", "if_divide_out": True, "use_fast_path": False},
}
FOUR_WAYS = {
    "without z": {},
    "early, with z": {"z": "act", "attributes": False},
    "z": {"z": "act"},
    "z as it is": {"z": "plain"},
    "channels first": {"channel_first": True},
    "channels first, z": {"channel_first": True, "z": "act"},
    "no convolution": {"d_conv": 1},
    "sizes": {"d_state": 1, "dt_rank": 5, "d_conv": 5},
}


def snapshot(module):
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


@pytest.mark.parametrize("options", BLOCKS.values(), ids=BLOCKS)
def test_block_computes_what_its_definition_says(options):
    block = randomised(SequenceMixer(6, **options))

    adopted = adopt(block)

    assert not isinstance(adopted, SequenceMixer)
    assert_computes(adopted, in_float64(block, tokens_of()), tokens_of())


@pytest.mark.parametrize("options", FOUR_WAYS.values(), ids=FOUR_WAYS)
@pytest.mark.parametrize("size", [(5, 7), (1, 6), (4, 1)])
def test_vmambas_block_reads_rows_and_columns_both_ways(options, size):
    block = randomised(FourWayMixer(3, **options))
    x = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(3))
    x = x if options.get("channel_first") else x.permute(0, 2, 3, 1).contiguous()

    adopted = adopt(block)

    assert not isinstance(adopted, FourWayMixer)
    assert_computes(adopted, in_float64(block, x), x)


class Pyramid(nn.Module):
    """Blocks in a ModuleList of dicts, one of them used twice and under two names, two sharing parameters."""

    def __init__(self):
        super().__init__()
        once, again = SequenceMixer(6), SequenceMixer(6)
        again.A_log, again.in_proj = once.A_log, once.in_proj
        self.shared = self.same = SequenceMixer(6, "v3", nslices=5)
        self.stages = nn.ModuleList(
            [nn.ModuleDict({"mixer": once, "next": nn.Sequential(nn.Tanh(), again)}), nn.ModuleDict()]
        )
        self.stages[1]["mixer"] = self.shared

    def forward(self, tokens):
        tokens = self.stages[0]["next"](self.stages[0]["mixer"](tokens))
        return self.same(self.shared(tokens)) + self.stages[1]["mixer"](hidden_states=tokens)


def test_every_block_is_replaced_wherever_it_is_and_stays_one_block():
    network = randomised(Pyramid())

    adopted = adopt(network)

    assert type(adopted) is Pyramid
    assert not any(isinstance(module, SequenceMixer) for module in adopted.modules())
    assert adopted.shared is adopted.same is adopted.stages[1]["mixer"]
    mixers = adopted.stages[0]["mixer"].mamba, adopted.stages[0]["next"][1].mamba
    assert mixers[0].A_log is mixers[1].A_log
    assert mixers[0].in_proj.weight is mixers[1].in_proj.weight
    assert sum(p.numel() for p in adopted.parameters()) == sum(p.numel() for p in network.parameters())
    assert_computes(adopted, in_float64(network, tokens_of()), tokens_of())


def test_a_block_may_share_parameters_between_its_directions():
    block = SequenceMixer(6, "v2", if_divide_out=True)
    block.conv1d_b, block.x_proj_b, block.A_b_log = block.conv1d, block.x_proj, block.A_log
    randomised(block)

    adopted = adopt(block)

    assert adopted.mamba.A_b_log is adopted.mamba.A_log
    assert_computes(adopted, in_float64(block, tokens_of()), tokens_of())


@pytest.mark.parametrize(
    ("network", "shape"),
    [(VimClassifier(), (2, 3, 20, 28)), (VSSBlock(4), (2, 5, 3, 4)), (UMambaBot(), (1, 2, 6, 4, 8))],
    ids=["Vim", "VMamba", "U-Mamba"],
)
def test_networks_and_nothing_of_the_users_changes(network, shape):
    network = randomised(network).train()
    network.register_forward_hook(lambda module, inputs, output: output * 2)
    image = torch.randn(shape, generator=torch.Generator().manual_seed(5))
    before, types = snapshot(network), [type(module) for module in network.modules()]
    state = torch.get_rng_state()

    adopted = adopt(network)

    assert torch.equal(torch.get_rng_state(), state)
    assert adopted.training
    assert all(module.training for module in adopted.modules())
    assert all(module.training for module in network.modules())
    assert [type(module) for module in network.modules()] == types
    assert all(parameter.requires_grad for parameter in network.parameters())
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    assert_computes(adopted.eval(), in_float64(network.eval(), image), image)

    with torch.no_grad():
        result = network(image)
        for parameter in adopted.parameters():
            parameter.zero_()
        assert torch.equal(network(image), result)


def test_our_own_layers_are_left_as_they_are():
    network = MSDKMamba(MSDKMambaConfig(1, 2, dims=(4,), depths=(1,), d_state=2))

    adopted = adopt(network)

    kinds = [[type(module) for module in each.modules()] for each in (network, adopted)]
    assert kinds[0] == kinds[1]
    assert BiMamba in kinds[1]


def test_v2_without_the_attribute_is_not_halved_and_said_so():
    network = nn.Sequential(randomised(SequenceMixer(6, "v2")), randomised(SequenceMixer(6, "v2")))

    with pytest.warns(UserWarning, match=r"0, 1: two directions.*if_divide_out.*is not") as said:
        adopted = adopt(network)

    assert len(said) == 1
    assert_computes(adopted, in_float64(network, tokens_of()), tokens_of())


@pytest.mark.parametrize(
    "given", [{"inference_params": None}, {"attention_mask": None, "cache_params": None}]
)
def test_further_arguments_may_be_none(given):
    block = randomised(SequenceMixer(6))
    adopted = adopt(block)

    assert_computes(functools.partial(adopted, **given), in_float64(block, tokens_of()), tokens_of())
    assert_computes(lambda tokens: adopted(tokens, None), in_float64(block, tokens_of()), tokens_of())


@pytest.mark.parametrize("block", [SequenceMixer(6), FourWayMixer(6)], ids=["Mamba", "SS2D"])
def test_further_arguments_with_a_value_are_refused_by_name(block):
    adopted = adopt(nn.ModuleDict({"mixer": block}))["mixer"]
    x = torch.zeros(1, 4, 4, 6)

    with pytest.raises(ExportError, match=r"mixer cannot be exported.*inference_params"):
        adopted(x, inference_params={})
    with pytest.raises(ExportError, match="argument 3"):
        adopted(x, None, 7)


def test_slices_that_do_not_divide_the_tokens_are_refused():
    adopted = adopt(SequenceMixer(6, "v3", nslices=4))

    with pytest.raises(InputError, match="slices:4"):
        adopted(tokens_of())

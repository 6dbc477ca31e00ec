"""Blocks that other code built: taken up by names and shapes, or refused by name."""

import copy
import functools

import pytest
import torch
from published_blocks import (
    FourWayMixer,
    LayerNorm2d,
    SequenceMixer,
    UMambaBot,
    VimClassifier,
    VSSBlock,
    in_float64,
    randomised,
)
from torch import nn

from msdk_export import adopt
from msdk_export.layers import BiMamba
from msdk_export.models import MSDKMamba, MSDKMambaConfig
from msdk_rt.errors import ExportError, InputError

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


def tokens_of(seed=2, length=35, channels=6):
    return torch.randn(2, length, channels, generator=torch.Generator().manual_seed(seed))


def assert_computes(adopted, expected, *inputs):
    with torch.no_grad():
        torch.testing.assert_close(adopted(*inputs), expected.float(), rtol=1e-5, atol=1e-5)


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


def without(*names, base=None):
    """Take these parameters or modules away."""

    def change(block):
        for name in names:
            stem, _, leaf = name.rpartition(".")
            owner = block.get_submodule(stem)
            if isinstance(getattr(owner, leaf), nn.Parameter):
                setattr(owner, leaf, None)
            else:
                delattr(owner, leaf)

    return change


def having(**contents):
    def change(block):
        for name, value in contents.items():
            owner, leaf = block, name
            if "__" in name:
                stem, leaf = name.split("__")
                owner = block.get_submodule(stem)
            setattr(owner, leaf, value)

    return change


def hooked(block):
    block.conv1d.register_forward_hook(lambda *_: None)


class Rounded(nn.Linear):
    def forward(self, x):
        return nn.functional.linear(x, self.weight.round(), self.bias)


class Mamba2(nn.Module):
    def __init__(self):
        super().__init__()
        self.in_proj, self.out_proj = nn.Linear(6, 40), nn.Linear(12, 6)
        self.conv1d = nn.Conv1d(20, 20, 4, groups=20, padding=3)
        self.A_log, self.D, self.dt_bias = (nn.Parameter(torch.ones(3)) for _ in range(3))
        self.norm = nn.LayerNorm(12)


V2, V3 = {"bimamba_type": "v2", "if_divide_out": True}, {"bimamba_type": "v3", "nslices": 5}
REFUSED = {
    "no x_proj": ({}, without("x_proj"), r"missing: x_proj\.weight"),
    "no A_log, D": ({}, without("A_log", "D"), "missing: A_log, D"),
    "only A_log": (
        {},
        without("in_proj", "conv1d", "x_proj", "dt_proj", "D", "out_proj"),
        "missing: in_proj",
    ),
    "dt_proj without bias": ({}, without("dt_proj.bias"), r"missing: dt_proj\.bias"),
    "half a backward set": (V2, without("conv1d_b", "dt_proj_b"), r"missing: conv1d_b\.weight, .*dt_proj_b"),
    "v3 without backward": (V3, without("x_proj_b", "A_b_log"), r"missing: x_proj_b\.weight.*A_b_log"),
    "v3 without its decay": (V3, without("A_s_log"), "missing: A_s_log"),
    "one bias of two": ({"bias": True}, without("out_proj.bias"), r"missing: out_proj\.bias"),
    "one conv bias of two": (V2, without("conv1d_b.bias"), r"missing: conv1d_b\.bias"),
    "misshapen": ({}, having(D=nn.Parameter(torch.ones(11))), r"D is \(11,\), expected \(12,\)"),
    "complex steps": ({}, having(x_proj__bias=nn.Parameter(torch.ones(10))), r"unexpected: x_proj\.bias"),
    "norm of dt": ({}, having(dt_layernorm=nn.LayerNorm(2)), r"unexpected: dt_layernorm\.weight"),
    "norm without weights": (
        {},
        having(b_norm=nn.LayerNorm(4, elementwise_affine=False)),
        r"b_norm \(LayerNorm",
    ),
    "falcon's buffers": ({}, lambda b: b.register_buffer("b_c_rms", torch.ones(4), False), "b_c_rms"),
    "block in a block": ({}, having(reverse=SequenceMixer(6)), r"unexpected: reverse\.A_log"),
    "activation": ({}, having(act=nn.GELU()), "activation is GELU"),
    "activation by name": ({}, having(activation="gelu"), "activation is 'gelu'"),
    "hooks": ({}, hooked, "conv1d.*hooks"),
    "rounded weights": ({}, having(in_proj=Rounded(6, 24, bias=False)), r"in_proj.*Rounded"),
    "dilated": (
        {},
        having(conv1d=nn.Conv1d(12, 12, 4, groups=12, padding=3, dilation=2)),
        "dilation, padding",
    ),
    "centred": ({}, having(conv1d=nn.Conv1d(12, 12, 3, groups=12, padding=1)), "causal convolution"),
    "no nslices": ({"bimamba_type": "v3"}, having(), "nslices.*None"),
    "another type": (V2, having(bimamba_type="v4"), "bimamba_type is 'v4'.*v2 block"),
    "type without its set": ({}, having(bimamba_type="v2"), "bimamba_type is 'v2'.*plain block"),
    "both spellings": (V2, having(if_devide_out=False), "disagree"),
    "gamma unset": ({"init_layer_scale": 0.1}, having(init_layer_scale=None), "gamma"),
    "gamma missing": ({}, having(init_layer_scale=0.1), "no gamma"),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("options", "change", "message"), REFUSED.values(), ids=REFUSED)
def test_mamba_blocks_that_are_something_else_are_refused(options, change, message):
    network = nn.ModuleDict({"encoder": nn.Sequential(nn.Tanh(), SequenceMixer(6, **options))})
    change(network["encoder"][1])

    with pytest.raises(ExportError, match=rf"encoder\.1.*{message}"):
        adopt(network)


def test_mamba2_is_another_recurrence():
    with pytest.raises(ExportError, match=r"A_log of shape \(3,\).*Mamba-2"):
        adopt(nn.Sequential(Mamba2()))


class EverySecond(SequenceMixer):
    """Mamba's parameters, read in another order."""

    def forward(self, hidden_states):
        order = torch.cat([torch.arange(0, 6, 2), torch.arange(1, 6, 2)])
        return super().forward(hidden_states[:, order])[:, order.argsort()]


class Halves(SequenceMixer):
    def forward(self, hidden_states):
        return super().forward(hidden_states).chunk(2)


class Shorter(SequenceMixer):
    def forward(self, hidden_states):
        return super().forward(hidden_states)[:, 1:]


class OneDirection(SequenceMixer):
    """The fallback that Vim's and SegMamba's code takes without its kernels."""

    def forward(self, hidden_states, full=False):
        if full:
            return super().forward(hidden_states)
        xz = self.in_proj(hidden_states).transpose(1, 2)
        return self.out_proj(self.directed(xz, "").transpose(1, 2))


class KernelOnly(SequenceMixer):
    def forward(self, hidden_states):
        raise RuntimeError("expected a CUDA tensor")


@pytest.mark.parametrize(
    ("block", "message"),
    [
        (EverySecond(6), "differs from the published"),
        (Halves(6), r"into tuple.*\(1, 6, 6\)"),
        (Shorter(6), r"into \(1, 5, 6\)"),
        (OneDirection(6, "v2", if_divide_out=True), "one direction alone.*use_fast_path"),
    ],
)
def test_block_that_runs_and_means_something_else_is_refused(block, message):
    with pytest.raises(ExportError, match=rf"0 cannot be exported.*{message}"):
        adopt(nn.Sequential(randomised(block)))


def test_block_whose_output_starts_at_zero_is_taken():
    block = randomised(SequenceMixer(6))
    nn.init.zeros_(block.out_proj.weight)

    assert not adopt(block)(tokens_of()).any()


def test_block_that_cannot_run_or_leaves_directions_out_is_taken_at_its_names():
    options = {"bimamba_type": "v2", "if_divide_out": True}
    reference = randomised(SequenceMixer(6, **options))
    for kind in (KernelOnly, OneDirection):
        block = kind(6, **options, use_fast_path=kind is KernelOnly)
        block.load_state_dict(reference.state_dict())

        assert_computes(adopt(block), in_float64(reference, tokens_of()), tokens_of())


def cross_scan_of(name):
    return having(forward_core=functools.partial(print, CrossScan=type(name, (), {})))


SS2D_REFUSED = {
    "no Ds": (without("Ds"), "missing: Ds"),
    "only A_logs": (
        without("x_proj_weight", "dt_projs_weight", "Ds"),
        "missing: x_proj_weight, dt_projs_weight",
    ),
    "two scans": (having(dt_projs_bias=nn.Parameter(torch.ones(2, 12))), r"dt_projs_bias is \(2, 12\)"),
    "bias of x_dbl": (having(x_proj_bias=nn.Parameter(torch.ones(4, 8))), "unexpected: x_proj_bias"),
    "half of in_proj": (having(in_proj=nn.Linear(6, 17)), "17 rows"),
    "z that is not": (having(disable_z=False), "disable_z is False"),
    "no norm": (without("out_norm"), "no out_norm"),
    "no conv": (without("conv2d"), "no conv2d"),
    "activation": (having(act=nn.GELU()), "GELU"),
    "one direction": (cross_scan_of("CrossScan_Ab_1direction"), "CrossScan_Ab_1direction"),
    "scan mode": (having(forward_core=functools.partial(print, scan_mode="cascade2d")), "cascade2d"),
    "further norm": (having(pre=nn.LayerNorm(12, elementwise_affine=False)), "holds pre"),
}


@pytest.mark.parametrize(("change", "message"), SS2D_REFUSED.values(), ids=SS2D_REFUSED)
def test_ss2d_blocks_that_are_something_else_are_refused(change, message):
    network = nn.Sequential(VSSBlock(6))
    change(network[0].op)

    with pytest.raises(ExportError, match=rf"0\.op.*{message}"):
        adopt(network)


def test_ss2d_without_attributes_has_a_plain_layer_norm():
    block = FourWayMixer(6, attributes=False)
    block.out_norm = LayerNorm2d(12)

    with pytest.raises(ExportError, match=r"LayerNorm2d.*out_norm_shape"):
        adopt(block)


@pytest.mark.parametrize("name", ["CrossScan", "CrossScanTriton"])
def test_ss2d_may_name_the_cross_scan(name):
    block = randomised(FourWayMixer(3))
    x = torch.randn(1, 4, 5, 3, generator=torch.Generator().manual_seed(7))
    expected = in_float64(block, x)
    cross_scan_of(name)(block)

    assert_computes(adopt(block), expected, x)


def test_norm_of_a_block_is_where_out_norm_shape_says():
    block = randomised(FourWayMixer(3))
    x = torch.randn(1, 4, 5, 3, generator=torch.Generator().manual_seed(8))
    expected = in_float64(block, x)
    first = LayerNorm2d(6)
    first.load_state_dict(block.out_norm.state_dict())
    block.out_norm, block.out_norm_shape = first, "v1"

    assert_computes(adopt(block), expected, x)


def test_module_that_cannot_be_copied_is_refused():
    network = nn.Sequential(SequenceMixer(6))
    network.last = network[0].A_log * 2

    with pytest.raises(ExportError, match="Sequential cannot be copied"):
        adopt(network)
    with pytest.raises(RuntimeError):
        copy.deepcopy(network)

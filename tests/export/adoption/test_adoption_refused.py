"""Blocks whose names say Mamba and whose meaning is another: refused, and what is at the edge of that."""

import copy
import functools

import pytest
import torch
from torch import nn

from msdk_export import adopt
from msdk_rt.errors import ExportError
from tests.support.published_blocks import (
    FourWayMixer,
    LayerNorm2d,
    SequenceMixer,
    VSSBlock,
    assert_computes,
    in_float64,
    randomised,
    tokens_of,
)


def without(*names):
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


class ByRows(torch.autograd.Function):
    """Runs, and reads rows alone: one of the classes that VMamba calls CrossScanTriton."""

    @staticmethod
    def forward(ctx, x):
        rows = x.flatten(2).unsqueeze(1)
        return torch.cat([rows, rows, rows.flip(-1), rows.flip(-1)], 1)


class BothWays(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ways = torch.stack([x.flatten(2), x.transpose(2, 3).flatten(2)], 1)
        return torch.cat([ways, ways.flip(-1)], 1)


def scanning_by(**options):
    return having(forward_core=functools.partial(print, **options))


def test_ss2d_may_be_given_a_cross_scan_that_shows_its_order():
    block = randomised(FourWayMixer(3))
    x = torch.randn(1, 4, 5, 3, generator=torch.Generator().manual_seed(7))
    expected = in_float64(block, x)
    scanning_by(CrossScan=BothWays, force_fp32=True)(block)

    assert_computes(adopt(block), expected, x)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"CrossScan": type("CrossScanTriton", (ByRows,), {})}, "CrossScanTriton.* in another order"),
        ({"CrossScan": type("CrossScanTriton", (), {})}, "CrossScanTriton.* does not run here"),
        ({"cascade2d": True}, "cascade2d=True"),
        ({"windows": 7}, "the argument windows=7"),
    ],
)
def test_ss2d_is_not_believed_for_the_name_of_its_order(options, message):
    block = FourWayMixer(3)
    scanning_by(**options)(block)

    with pytest.raises(ExportError, match=message):
        adopt(block)


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

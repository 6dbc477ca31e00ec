"""What is exported is what the user's own module computes."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from msdk_export import export_graph
from msdk_rt.errors import ExportError
from tests.support.given_networks import RIGHT, Net, error_of, randomised_inside, run, scans_of, tokens_of
from tests.support.published_blocks import FourWayMixer, SequenceMixer, randomised


@pytest.mark.parametrize("kernels", [True, False], ids=["kernels", "no kernels"])
@pytest.mark.parametrize("kind", RIGHT)
def test_the_graph_is_what_the_module_computes(kind, kernels, tmp_path):
    network = randomised_inside(RIGHT[kind]())

    assert error_of(network, tmp_path / "graph.onnx", tokens_of(), kernels=kernels) < 1e-5


@pytest.mark.parametrize(
    "kind", ["isinstance", "backward", "in pieces", "shared block", "hooks", "two lengths"]
)
def test_the_scan_is_an_op_and_no_loop(kind, tmp_path):
    network = randomised(RIGHT[kind]())

    error_of(network, tmp_path / "graph.onnx", tokens_of(), kernels=False)

    assert scans_of(tmp_path / "graph.onnx") == {"in pieces": 2, "shared block": 2, "two lengths": 2}.get(
        kind, 1
    )


def test_wrapper_with_a_hook_is_right_or_refused(tmp_path):
    network = nn.DataParallel(randomised(Net(SequenceMixer(6))))
    network.register_forward_hook(lambda module, inputs, output: output * 2)

    try:
        error = error_of(network, tmp_path / "graph.onnx", tokens_of())
    except ExportError:
        assert not list(tmp_path.iterdir())
    else:
        assert error < 1e-5


class Sums(nn.Module):
    def forward(self, *tensors):
        return sum(tensors) * len(tensors)


def test_a_module_may_take_any_number_of_tensors(tmp_path):
    assert error_of(Sums(), tmp_path / "graph.onnx", tokens_of(), tokens_of(seed=3)) < 1e-6


@pytest.mark.parametrize("one", [True, False])
def test_use_fast_path_false_of_a_bidirectional_block_is_said(one, tmp_path):
    class OneDirection(SequenceMixer):
        def forward(self, hidden_states, inference_params=None):
            xz = self.in_proj(hidden_states).transpose(1, 2)
            return self.out_proj(self.directed(xz, "").transpose(1, 2))

    kind = OneDirection if one else SequenceMixer
    network = randomised(Net(kind(6, "v2", if_divide_out=True, use_fast_path=False)))

    with pytest.warns(
        UserWarning, match="use_fast_path.*" + ("direction alone$" if one else "published block$")
    ):
        assert error_of(network, tmp_path / "graph.onnx", tokens_of()) < 1e-5
    assert scans_of(tmp_path / "graph.onnx") == 1


class Columns(FourWayMixer):
    """SS2D's parameters, columns first."""

    def scanned(self, x):
        return super().scanned(x.transpose(2, 3)).transpose(2, 3)


class Unactivated(FourWayMixer):
    def forward(self, x):
        x = self.in_proj(x).permute(0, 3, 1, 2)
        y = self.scanned(self.conv2d(x)).permute(0, 2, 3, 1)
        return self.out_proj(self.out_norm(y))


@pytest.mark.parametrize(
    "block",
    [Columns(6), Unactivated(6), FourWayMixer(6, d_conv=1, attributes=False)],
    ids=["columns first", "activation outside", "no depthwise convolution"],
)
def test_ss2d_of_another_meaning_is_what_it_computes(block, tmp_path):
    network = randomised(block)
    x = torch.randn(2, 2, 3, 6, generator=torch.Generator().manual_seed(7))

    assert error_of(network, tmp_path / "graph.onnx", x) < 1e-5


def test_half_precision_is_compared_in_float32(tmp_path):
    network = randomised(Net(SequenceMixer(6))).half()
    exact = copy.deepcopy(network).float()
    x = tokens_of()

    export_graph(network, x, tmp_path / "graph.onnx")

    with torch.no_grad():
        np.testing.assert_allclose(run(tmp_path / "graph.onnx", x)[0], exact(x), rtol=1e-4, atol=1e-5)
    assert next(network.parameters()).dtype is torch.float16

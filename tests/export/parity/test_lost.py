"""The layer at which an artifact departs from PyTorch, found in graphs with one weight changed."""

import copy

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from msdk_export.graph.trace import module_to_onnx
from msdk_export.parity import worst_step

INPUT = torch.randn(2, 3, 9, 8, 7, generator=torch.Generator().manual_seed(0))
FEED = {"image": INPUT.numpy()}


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv3d(3, 4, 3), nn.ReLU(), nn.Conv3d(4, 5, 1), nn.Tanh(), nn.Conv3d(5, 2, 1)
    ).eval()


@pytest.fixture(scope="module")
def graph(network):
    return module_to_onnx(network, [INPUT], ["image"], ["logits"], dynamic_batch=True)


def with_weight_changed(graph: onnx.ModelProto, name: str, factor: float) -> onnx.ModelProto:
    changed = copy.deepcopy(graph)
    (tensor,) = [tensor for tensor in changed.graph.initializer if tensor.name == name]
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(factor), name))
    return changed


@pytest.mark.parametrize("layer", ["0", "2", "4"])
def test_the_layer_whose_weight_was_changed_is_named(network, graph, layer):
    changed = with_weight_changed(graph, f"{layer}.weight", 1.01)

    assert worst_step(changed, network, FEED).startswith(f"{layer} (Conv3d, relative error 0.0")


def test_of_a_graph_that_agrees_no_layer_is_far_off(network, graph):
    said = worst_step(graph, network, FEED)

    assert not said or float(said.rpartition("error ")[2].rstrip(")")) < 1e-6

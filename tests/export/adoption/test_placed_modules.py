"""Modules that are elsewhere: in DistributedDataParallel, on another device, without any memory."""

import pytest
import torch
import torch.distributed
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from msdk_export import export_graph
from msdk_export.adoption.state import outputs_of
from msdk_rt.errors import ExportError
from tests.support.given_networks import Backward, CudaMixer, Net, error_of, tokens_of
from tests.support.published_blocks import randomised


@pytest.fixture
def group(tmp_path):
    """A process group of this process alone."""
    store = torch.distributed.FileStore(str(tmp_path / "store"), 1)
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


@pytest.mark.parametrize("kernels", [True, False], ids=["kernels", "no kernels"])
@pytest.mark.parametrize("mixer", [CudaMixer, Backward])
def test_distributed_data_parallel(mixer, kernels, group, tmp_path):
    network = DistributedDataParallel(randomised(Net(mixer(6))))

    assert error_of(network, tmp_path / "graph.onnx", tokens_of(), kernels=kernels) < 1e-5


class Outer(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = DistributedDataParallel(Net(CudaMixer(6)))

    def forward(self, *tensors):
        return self.net(tensors[0]) * 2 + tensors[1]


def test_distributed_data_parallel_inside_a_module_of_any_number_of_tensors(group, tmp_path):
    other = torch.randn(2, 12, 3, generator=torch.Generator().manual_seed(4))

    assert error_of(randomised(Outer()), tmp_path / "graph.onnx", tokens_of(), other) < 1e-5


def test_training_goes_on_after_an_export(group, tmp_path):
    network = DistributedDataParallel(randomised(Net(CudaMixer(6)))).train()
    weights = {name: value.clone() for name, value in network.state_dict().items()}

    export_graph(network, tokens_of(), tmp_path / "graph.onnx")

    assert network.training
    assert all(torch.equal(value, weights[name]) for name, value in network.state_dict().items())
    network(tokens_of()).sum().backward()
    assert network.module.head.weight.grad is not None


def test_the_process_group_may_be_gone(group, tmp_path):
    network = DistributedDataParallel(randomised(Net(CudaMixer(6))))
    torch.distributed.destroy_process_group()

    assert error_of(network, tmp_path / "graph.onnx", tokens_of()) < 1e-5


def test_weights_without_memory_are_refused(tmp_path):
    with torch.device("meta"):
        network = Net(CudaMixer(6))

    with pytest.raises(ExportError, match="no data"):
        export_graph(network, tokens_of(), tmp_path / "graph.onnx")
    assert not list(tmp_path.iterdir())


class Sees(nn.Module):
    """Notes the device of its input; its only tensor is a parameter or a buffer."""

    def __init__(self, kept):
        super().__init__()
        self.seen = []
        tensor = torch.zeros(6, device="meta")
        if kept == "parameter":
            self.register_parameter("offset", nn.Parameter(tensor))
        else:
            self.register_buffer("offset", tensor)

    def forward(self, tokens):
        self.seen.append(tokens.device.type)
        return torch.zeros(1)


@pytest.mark.parametrize("kept", ["parameter", "buffer"])
def test_inputs_go_to_the_device_of_the_module(kept):
    module = Sees(kept)

    (found,) = outputs_of(module, [tokens_of()])

    assert module.seen == ["meta"]
    assert found.device.type == "cpu"


class AsksForPrecision(nn.Module):
    seen = None

    def forward(self, tokens):
        AsksForPrecision.seen = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
        return tokens


def test_the_reference_is_not_computed_in_the_precision_that_the_caller_allows():
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        outputs_of(AsksForPrecision(), [tokens_of()])
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)
    assert AsksForPrecision.seen == ("highest", False)

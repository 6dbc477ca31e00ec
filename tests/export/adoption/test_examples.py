"""Examples that show little, and blocks that write into what they are given: right, refused, or said."""

import pytest
import torch
from torch import nn

from msdk_export import export_graph
from msdk_rt.artifact.notes import ExportWarning
from msdk_rt.errors import ExportError
from tests.support.given_networks import Backward, CudaMixer, InPieces, Net, run, tokens_of
from tests.support.published_blocks import randomised


def error_elsewhere(network, path, example):
    """Relative error, on tokens other than the example, of a graph exported with the example."""
    export_graph(network, example, path)
    tokens = tokens_of(batch=3, seed=9)
    with torch.no_grad():
        expected = network(tokens.clone()).numpy()
    (found,) = run(path, tokens)
    return abs(found - expected).max() / abs(expected).max()


@pytest.mark.parametrize("number", [0.0, 1.0])
@pytest.mark.parametrize("mixer", [Backward, InPieces])
def test_an_example_of_one_number_does_not_hide_what_a_block_does(mixer, number, tmp_path):
    network = randomised(Net(mixer(6)))

    assert error_elsewhere(network, tmp_path / "graph.onnx", torch.full((2, 12, 6), number)) < 1e-5


class Picky(Net):
    """Runs on zeros alone."""

    def forward(self, tokens):
        if tokens.any():
            raise ValueError("these tokens are not zeros")
        return super().forward(tokens)


def test_a_module_that_runs_on_one_number_alone_is_refused(tmp_path):
    with pytest.raises(ExportError, match="run on noise too: give an example like what it will be given"):
        export_graph(Picky(CudaMixer(6)), torch.zeros(2, 12, 6), tmp_path / "graph.onnx")
    assert not list(tmp_path.iterdir())


def test_an_output_of_zeros_is_said(tmp_path):
    network = nn.Sequential(nn.Linear(6, 3), nn.Threshold(100.0, 0.0))

    with pytest.warns(ExportWarning, match="output_0 is 0 everywhere on the example"):
        export_graph(network, tokens_of(), tmp_path / "graph.onnx")


class WritesFirst(CudaMixer):
    def forward(self, hidden_states, inference_params=None):
        hidden_states.mul_(2)
        return super().forward(hidden_states)


class WritesLast(CudaMixer):
    def forward(self, hidden_states, inference_params=None):
        mixed = super().forward(hidden_states)
        hidden_states[:, ::2] *= 2
        return mixed


@pytest.mark.parametrize("mixer", [WritesFirst, WritesLast])
def test_a_block_may_write_into_its_input(mixer, tmp_path):
    network = nn.Sequential(nn.Linear(6, 6), randomised(Net(mixer(6))))

    assert error_elsewhere(network, tmp_path / "graph.onnx", tokens_of()) < 1e-5


class NotInOnnx(nn.Module):
    def forward(self, tokens):
        return tokens.cummax(1).values


def test_an_error_of_the_exporter_is_plain_text(tmp_path):
    with pytest.raises(ExportError, match="cummax") as refused:
        export_graph(NotInOnnx(), tokens_of(), tmp_path / "graph.onnx")
    assert str(refused.value).isprintable()

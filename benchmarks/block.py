"""How fast is one whole bidirectional Mamba block: projections, convolution, scan, gate?

48 channels as in stage 1 of the base network, random weights; 262,144 tokens are its feature map at 128^3.
"""

import tempfile
from pathlib import Path

import numpy as np
import onnx
import torch

from benchmarks.measure import Contestant, measure
from benchmarks.scan_op import bound
from msdk_export.graph_export import export_graph
from msdk_export.layers import BiMamba

THREADS = 2
CHANNELS = 48


def exported(block: torch.nn.Module, tokens: torch.Tensor) -> onnx.ModelProto:
    """The graph that users get; its export has compared it with PyTorch."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "block.onnx"
        export_graph(block, tokens, path, input_names=["tokens"], output_names=["y"], dynamic_batch=False)
        return onnx.load(path)


def in_pytorch(name: str, block: torch.nn.Module, tokens: torch.Tensor) -> Contestant:
    def run():
        with torch.inference_mode():
            return block(tokens).numpy()

    return Contestant(name, run, THREADS)


def main() -> None:
    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    block = BiMamba(CHANNELS).eval().requires_grad_(False)
    for length in (32768, 262144):
        tokens = torch.randn(1, CHANNELS, length)
        inputs, shape = {"tokens": tokens.numpy()}, tuple(tokens.shape)
        graph = exported(block, tokens)
        contestants = [
            Contestant("msdk_rt", bound(graph, inputs, THREADS, shape=shape), THREADS),
            Contestant(
                "msdk_rt without its library",
                bound(graph, inputs, THREADS, library=False, shape=shape),
                THREADS,
            ),
            in_pytorch("PyTorch eager", block, tokens),
            in_pytorch("torch.compile", torch.compile(block, dynamic=False), tokens),
        ]
        expected = contestants[2].run()
        for contestant in contestants:
            np.testing.assert_allclose(
                contestant.run(), expected, rtol=1e-3, atol=1e-3, err_msg=contestant.name
            )
        measure("block", f"C={CHANNELS} L={length}", contestants, work=length / 1e3, unit="k tokens")
        print()

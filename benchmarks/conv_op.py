"""How fast is the directed causal convolution with its SiLU, both directions at once?

Stage 1 of a 128^3 window: 96 channels, 262,144 tokens, 4 taps. It is memory bound: x once in, u twice out.
The peers flip the tokens, convolve each channel by itself and flip back.
"""

import numpy as np
import onnx
import onnx.parser
import torch
from torch.nn import functional

from benchmarks.measure import Contestant, measure
from benchmarks.scan_op import bound
from msdk_export.graph.functions import attach_functions
from tests.support.cases import ConvCase
from tests.support.nodes import node_model

THREADS = 2
DIRECTIONS = "forward,backward"


def case(length: int) -> ConvCase:
    return ConvCase(B=1, K=2, D=96, L=length, W=4, directions=DIRECTIONS, seed=0)


def grouped_conv(inputs: dict) -> onnx.ModelProto:
    """Slices of negative step and a Conv with a group for each channel."""
    (_, D, L), (K, _, W) = inputs["x"].shape, inputs["weight"].shape

    def flipped(name: str, out: str) -> str:
        return f"{out} = Slice({name}, last, end, last, last)"

    body = "\n".join(
        f"""
          k{k} = Constant <value_int = {k}> ()
          taps{k} = Gather <axis = 0> (weight, k{k})
          kernel{k} = Unsqueeze(taps{k}, one)
          offset{k} = Gather <axis = 0> (bias, k{k})
          {flipped("x", f"steps{k}") if k else f"steps{k} = Identity(x)"}
          sums{k} = Conv <group = {D}, pads = [{W - 1}, 0]> (steps{k}, kernel{k}, offset{k})
          open{k} = Sigmoid(sums{k})
          active{k} = Mul(sums{k}, open{k})
          {flipped(f"active{k}", f"tokens{k}") if k else f"tokens{k} = Identity(active{k})"}
          u{k} = Unsqueeze(tokens{k}, one)"""
        for k in range(K)
    )
    return onnx.parser.parse_model(
        f"""<ir_version: 10, opset_import: ["" : 20]>
        convolutions (float[1,{D},{L}] x, float[{K},{D},{W}] weight, float[{K},{D}] bias)
          => (float[1,{K},{D},{L}] y) {{
          one = Constant <value_ints = [1]> ()
          last = Constant <value_ints = [-1]> ()
          end = Constant <value_ints = [-9223372036854775807]> ()
          {body}
          y = Concat <axis = 1> ({", ".join(f"u{k}" for k in range(K))})
        }}"""
    )


def pytorch(inputs: dict) -> Contestant:
    x, weight, bias = (torch.from_numpy(array) for array in inputs.values())

    def convolved(x, k):
        padded = functional.pad(x, (weight.shape[2] - 1, 0))
        sums = functional.conv1d(padded, weight[k].unsqueeze(1), bias[k], groups=len(bias[k]))
        return functional.silu(sums)

    def run():
        with torch.inference_mode():
            return torch.stack([convolved(x, 0), convolved(x.flip(-1), 1).flip(-1)], dim=1).numpy()

    return Contestant("PyTorch conv1d, flips", run, THREADS)


def main() -> None:
    torch.set_num_threads(THREADS)
    for length in (4096, 262144):
        inputs = case(length).inputs()
        node = node_model("DirectionalConv1d", inputs, directions=DIRECTIONS)
        shape = (1, 2, 96, length)
        contestants = [
            Contestant("msdk::DirectionalConv1d", bound(node, inputs, THREADS, shape=shape), THREADS),
            Contestant(
                "grouped Conv, flips",
                bound(grouped_conv(inputs), inputs, THREADS, library=False, shape=shape),
                THREADS,
            ),
            Contestant(
                "the op's body in standard ops",
                bound(attach_functions(node), inputs, THREADS, library=False, shape=shape),
                THREADS,
            ),
            pytorch(inputs),
        ]
        expected = contestants[0].run()
        for contestant in contestants[1:]:
            np.testing.assert_allclose(
                contestant.run(), expected, rtol=1e-4, atol=1e-5, err_msg=contestant.name
            )
        gigabytes = 4 * 3 * 96 * length / 1e9
        measure("conv_op", f"L={length} D=96 W=4 K=2", contestants, work=gigabytes, unit="GB")
        print()

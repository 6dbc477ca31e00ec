"""In which form should a KAN layer reach a runtime?

y = base @ SiLU(x) + spline @ B(x): 9 products for each weight of a linear layer. Materialised, the basis B(x)
is 8 times the feature map (403 MB at 48 channels and 64^3 tokens); taken basis by basis it is one feature map
at a time, read and written by every elementwise op; the fused op keeps it in the cache. The floor is the
products: 2 * 9 * C^2 * L.
"""

import numpy as np
import onnx
import onnx.parser
import torch

import msdk_export.ops  # noqa: F401  registers torch.ops.msdk
from benchmarks.measure import Contestant, measure
from msdk_export.graph.functions import attach_functions
from tests.support.cases import KanCase
from tests.support.nodes import node_model, session

THREADS = 2
BASES = 8


def materialised(C: int, L: int) -> onnx.ModelProto:
    """One pass over a (C, 8, L) basis in standard ops, then one product with it."""
    centres = ", ".join(str(g - 1.0) for g in range(BASES))
    return onnx.parser.parse_model(
        f"""<ir_version: 10, opset_import: ["" : 20]>
        kan (float[1,{C},{L}] x, float[{C},{C}] base_weight, float[{C},{C},{BASES}] spline_weight)
          => (float[1,{C},{L}] y) {{
          one = Constant <value_float = 1.0> ()
          two = Constant <value_float = 2.0> ()
          four = Constant <value_float = 4.0> ()
          six = Constant <value_float = 6.0> ()
          half_knot = Constant <value_float = 2.5> ()
          rows = Constant <value_ints = [1, {C}, 1, {L}]> ()
          basis_rows = Constant <value_ints = [1, {C * BASES}, {L}]> ()
          matrix = Constant <value_ints = [{C}, {C * BASES}]> ()
          centres = Constant <value = float[1, 1, {BASES}, 1] {{{centres}}}> ()
          open = Sigmoid(x)
          activated = Mul(x, open)
          base = MatMul(base_weight, activated)
          shifted = Add(x, one)
          position = Mul(shifted, half_knot)
          row = Reshape(position, rows)
          offset = Sub(row, centres)
          q = Abs(offset)
          wide_line = Sub(two, q)
          wide = Relu(wide_line)
          narrow_line = Sub(one, q)
          narrow = Relu(narrow_line)
          wide2 = Mul(wide, wide)
          wide3 = Mul(wide2, wide)
          narrow2 = Mul(narrow, narrow)
          narrow3 = Mul(narrow2, narrow)
          narrow4 = Mul(narrow3, four)
          sixfold = Sub(wide3, narrow4)
          basis = Div(sixfold, six)
          flat = Reshape(basis, basis_rows)
          weights = Reshape(spline_weight, matrix)
          spline = MatMul(weights, flat)
          y = Add(base, spline)
        }}"""
    )


def onnx_contestant(name: str, model: onnx.ModelProto, inputs: dict, library: bool) -> Contestant:
    node = session(model, THREADS, library)
    return Contestant(name, lambda: node.run(None, inputs)[0], THREADS)


def main() -> None:
    torch.set_num_threads(THREADS)
    for channels, length in ((48, 262144), (96, 32768), (384, 512)):
        inputs = KanCase(1, channels, channels, length, BASES, -1.0, 1.0, seed=0).inputs()
        node = node_model("KanLinear", inputs)
        tensors = [torch.from_numpy(array) for array in inputs.values()]

        def pytorch(tensors=tensors):
            with torch.no_grad():
                return torch.ops.msdk.kan_linear(*tensors, -1.0, 1.0).numpy()

        contestants = [
            onnx_contestant("msdk::KanLinear", node, inputs, library=True),
            onnx_contestant("basis by basis", attach_functions(node), inputs, library=False),
            onnx_contestant("basis materialised", materialised(channels, length), inputs, library=False),
            Contestant("PyTorch, in blocks of tokens", pytorch, THREADS),
        ]
        expected = contestants[0].run()
        for contestant in contestants[1:]:
            np.testing.assert_allclose(
                contestant.run(), expected, rtol=1e-3, atol=1e-4, err_msg=contestant.name
            )
        gflop = 2 * (BASES + 1) * channels**2 * length / 1e9
        measure("kan_op", f"C={channels} L={length}", contestants, work=gflop, unit="GFLOP")
        print()

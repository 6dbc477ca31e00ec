"""How fast is the selective scan, against other ways to run it on a CPU?

Stage 1 of a 128^3 window is L = 262,144 tokens, D = 96 channels, N = 16 states, two directions: 805 M state
updates, each one exp and one multiply-add. All contestants do the whole op: delta from its rows, both
directions, the gate.
"""

from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import torch

import msdk_export.ops  # noqa: F401  registers torch.ops.msdk
from benchmarks.measure import Contestant, measure
from msdk_export.graph.functions import attach_functions
from tests.support.cases import ScanCase
from tests.support.nodes import node_model, session

THREADS = 2
# Beyond this many tokens LinearAttention's L*D*N decay, keys and queries fill the memory.
LINEAR_ATTENTION_TOKENS = 65536


def case(length: int) -> ScanCase:
    return ScanCase(B=1, K=2, D=96, L=length, N=16, R=3, directions="forward,backward", has_z=True, scale=1.0,
                    seed=0, extreme=False)  # fmt: skip


def ours(inputs: dict, threads: int) -> Contestant:
    model = node_model("BidirectionalSelectiveScan", inputs, directions="forward,backward")
    name = "msdk_rt" if threads == THREADS else "msdk_rt, 1 thread"
    return Contestant(name, bound(model, inputs, threads), threads)


def onnx_scan(inputs: dict) -> Contestant:
    model = attach_functions(node_model("BidirectionalSelectiveScan", inputs, directions="forward,backward"))
    return Contestant("ONNX Scan", bound(model, inputs, THREADS, library=False), THREADS)


def bound(model: onnx.ModelProto, inputs: dict, threads: int, library: bool | Path = True, shape: tuple = ()):
    """A run with every tensor bound beforehand: no copy and no allocation is timed, as inside a network.

    shape: of the output; default: that of z.
    """
    node = session(model, threads, library)
    binding = node.io_binding()
    for name, array in inputs.items():
        binding.bind_cpu_input(name, array)
    y = np.empty(shape or inputs["z"].shape, np.float32)
    binding.bind_output("y", "cpu", element_type=np.float32, shape=y.shape, buffer_ptr=y.ctypes.data)

    def run(keep_alive=(inputs, y)):
        node.run_with_iobinding(binding)
        return keep_alive[1]

    return run


def linear_attention(inputs: dict) -> Contestant:
    """com.microsoft LinearAttention: a channel is a head, a state a key dimension, delta * u the value."""
    _, K, D, L = inputs["u"].shape
    N, R = inputs["A"].shape[2], inputs["dt_weight"].shape[2]
    body = "\n".join(_linear_attention_direction(k, D, N, R) for k in range(K))
    model = onnx.parser.parse_model(
        f"""<ir_version: 10, opset_import: ["" : 20, "com.microsoft" : 1]>
        scan (float[1,{K},{D},{L}] u, float[1,{K},{R + 2 * N},{L}] x_dbl, float[{K},{D},{R}] dt_weight,
              float[{K},{D}] dt_bias, float[{K},{D},{N}] A, float[{K},{D}] D_skip, float[1,{D},{L}] z)
          => (float[1,{D},{L}] y) {{
          last = Constant <value_ints = [-1]> ()
          zero = Constant <value_ints = [0]> ()
          end = Constant <value_ints = [-9223372036854775807]> ()
          axis = Constant <value_ints = [1]> ()
          heads = Constant <value_ints = [1, {L}, {D}, {N}]> ()
          packed = Constant <value_ints = [1, {L}, {D * N}]> ()
          column = Constant <value_ints = [{D}, 1]> ()
          one_head = Constant <value_ints = [1, {L}, 1, {N}]> ()
          all_heads = Constant <value_ints = [1, {L}, {D}, 1]> ()
          decays = Constant <value_ints = [1, 1, {D}, {N}]> ()
          {body}
          total = Add(y0, y1)
          opened = Sigmoid(z)
          gate = Mul(z, opened)
          y = Mul(total, gate)
        }}"""
    )
    onnx.checker.check_model(model)
    return Contestant("LinearAttention", bound(model, inputs, THREADS, library=False), THREADS)


def _linear_attention_direction(k: int, D: int, N: int, R: int) -> str:
    def picked(name: str, out: str) -> str:
        return f"{out} = Gather <axis = {1 if name in ('u', 'x_dbl') else 0}> ({name}, k{k})"

    turn = f"Slice(rows{k}, last, end, axis, last)" if k else f"Identity(rows{k})"
    turn_back = f"Slice(scanned{k}, last, end, axis, last)" if k else f"Identity(scanned{k})"
    turn_u = f"Slice(u_rows{k}, last, end, axis, last)" if k else f"Identity(u_rows{k})"
    return f"""
          k{k} = Constant <value_int = {k}> ()
          {picked("x_dbl", f"x_dbl{k}")}
          {picked("u", f"u{k}")}
          {picked("dt_weight", f"dt_weight{k}")}
          {picked("dt_bias", f"dt_bias{k}")}
          {picked("A", f"A{k}")}
          {picked("D_skip", f"D_skip{k}")}
          rows{k} = Transpose <perm = [0, 2, 1]> (x_dbl{k})
          steps{k} = {turn}
          sizes{k} = Constant <value_ints = [{R}, {N}, {N}]> ()
          dt{k}, B{k}, C{k} = Split <axis = 2> (steps{k}, sizes{k})
          dt_matrix{k} = Transpose <perm = [1, 0]> (dt_weight{k})
          dt_product{k} = MatMul(dt{k}, dt_matrix{k})
          dt_sum{k} = Add(dt_product{k}, dt_bias{k})
          delta{k} = Softplus(dt_sum{k})
          u_rows{k} = Transpose <perm = [0, 2, 1]> (u{k})
          u_steps{k} = {turn_u}
          value{k} = Mul(delta{k}, u_steps{k})
          delta_heads{k} = Reshape(delta{k}, all_heads)
          A_heads{k} = Reshape(A{k}, decays)
          decay_heads{k} = Mul(delta_heads{k}, A_heads{k})
          decay{k} = Reshape(decay_heads{k}, packed)
          B_head{k} = Reshape(B{k}, one_head)
          B_heads{k} = Expand(B_head{k}, heads)
          key{k} = Reshape(B_heads{k}, packed)
          C_head{k} = Reshape(C{k}, one_head)
          C_heads{k} = Expand(C_head{k}, heads)
          query{k} = Reshape(C_heads{k}, packed)
          read{k}, state{k} = com.microsoft.LinearAttention <update_rule = "gated", q_num_heads = {D},
            kv_num_heads = {D}, scale = 1.0> (query{k}, key{k}, value{k}, , decay{k})
          skip{k} = Mul(u_steps{k}, D_skip{k})
          scanned{k} = Add(read{k}, skip{k})
          in_order{k} = {turn_back}
          y{k} = Transpose <perm = [0, 2, 1]> (in_order{k})"""


def pytorch(inputs: dict) -> Contestant:
    tensors = {name: torch.from_numpy(array) for name, array in inputs.items()}

    def run():
        with torch.no_grad():
            return torch.ops.msdk.bidirectional_selective_scan(
                **tensors, directions="forward,backward", scale=1.0
            ).numpy()

    return Contestant("PyTorch", run, THREADS)


def main() -> None:
    torch.set_num_threads(THREADS)
    for length in (32768, 262144):
        size = case(length)
        inputs = size.inputs()
        contestants = [ours(inputs, THREADS), ours(inputs, 1), onnx_scan(inputs), pytorch(inputs)]
        if length <= LINEAR_ATTENTION_TOKENS:
            contestants.insert(3, linear_attention(inputs))
        expected = contestants[0].run()
        for contestant in contestants[1:]:
            np.testing.assert_allclose(
                contestant.run(), expected, rtol=1e-3, atol=1e-3, err_msg=contestant.name
            )
        medians = measure(
            "scan_op",
            f"L={length} D=96 N=16 K=2",
            contestants,
            work=size.updates / 1e9,
            unit="G updates",
        )
        best_peer = min(value for name, value in medians.items() if not name.startswith("msdk_rt"))
        speedup = medians["msdk_rt, 1 thread"] / medians["msdk_rt"]
        print(f"  best peer / msdk_rt: {best_peer / medians['msdk_rt']:.1f}x;  two threads: {speedup:.2f}x\n")

"""How fast is OpenVINO on the same three ops?

OpenVINO's ONNX reader (2026.4) takes neither an artifact nor the bodies in it: it refuses a model's own
functions, and, once they are inlined, a Scan whose body reads a value from outside. So it gets graphs in
standard ops written for it: the convolution as a grouped Conv, the KAN layer with its basis materialised, and
the scan as a Scan that is passed all its inputs, which OpenVINO runs as a TensorIterator, a step at a time.
Needs `pip install openvino`.
"""

from collections.abc import Callable

import numpy as np
import onnx
import onnx.parser

from benchmarks import conv_op, kan_op, scan_op
from benchmarks.measure import Contestant, measure
from tests.support.cases import KanCase
from tests.support.nodes import node_model, session

THREADS = 2
SCAN_TOKENS = 4096


def stepwise_scan(inputs: dict) -> onnx.ModelProto:
    """Both directions, the backward one from flipped tokens, as a Scan each that carries A along."""
    _, K, D, L = inputs["u"].shape
    N, R = inputs["A"].shape[2], inputs["dt_weight"].shape[2]
    body = "\n".join(_direction(k, D, N, R) for k in range(K))
    return onnx.parser.parse_model(
        f"""<ir_version: 10, opset_import: ["" : 20]>
        scan (float[1,{K},{D},{L}] u, float[1,{K},{R + 2 * N},{L}] x_dbl, float[{K},{D},{R}] dt_weight,
              float[{K},{D}] dt_bias, float[{K},{D},{N}] A, float[{K},{D}] D_skip, float[1,{D},{L}] z)
          => (float[1,{D},{L}] y) {{
          last = Constant <value_ints = [-1]> ()
          end = Constant <value_ints = [-9223372036854775807]> ()
          first = Constant <value_ints = [0]> ()
          {body}
          both = Add(y0, y1)
          opened = Sigmoid(z)
          gate = Mul(z, opened)
          y = Mul(both, gate)
        }}"""
    )


def _direction(k: int, D: int, N: int, R: int) -> str:
    def flipped(name: str, out: str) -> str:
        return f"{out} = Slice({name}, last, end, last, last)" if k else f"{out} = Identity({name})"

    return f"""
          k{k} = Constant <value_int = {k}> ()
          u_set{k} = Gather <axis = 1> (u, k{k})
          u_tokens{k} = Squeeze(u_set{k}, first)
          {flipped(f"u_tokens{k}", f"u{k}")}
          row_set{k} = Gather <axis = 1> (x_dbl, k{k})
          row_tokens{k} = Squeeze(row_set{k}, first)
          {flipped(f"row_tokens{k}", f"rows{k}")}
          counts{k} = Constant <value_ints = [{R}, {N}, {N}]> ()
          dt{k}, B{k}, C{k} = Split <axis = 0> (rows{k}, counts{k})
          dt_weight{k} = Gather <axis = 0> (dt_weight, k{k})
          dt_bias_row{k} = Gather <axis = 0> (dt_bias, k{k})
          dt_bias{k} = Unsqueeze(dt_bias_row{k}, last)
          projected{k} = MatMul(dt_weight{k}, dt{k})
          shifted{k} = Add(projected{k}, dt_bias{k})
          delta{k} = Softplus(shifted{k})
          A{k} = Gather <axis = 0> (A, k{k})
          D_skip_row{k} = Gather <axis = 0> (D_skip, k{k})
          D_skip{k} = Unsqueeze(D_skip_row{k}, last)
          skip{k} = Mul(u{k}, D_skip{k})
          pushed{k} = Mul(delta{k}, u{k})
          h_shape{k} = Constant <value_ints = [{D}, {N}]> ()
          h_start{k} = ConstantOfShape <value = float[1] {{0.0}}> (h_shape{k})
          h_end{k}, A_end{k}, read{k} = Scan <num_scan_inputs = 4, scan_input_axes = [1, 1, 1, 1],
            scan_output_axes = [1], body = step{k}
            (float[{D},{N}] h, float[{D},{N}] decay, float[{D}] delta, float[{D}] push, float[{N}] B,
             float[{N}] C)
              => (float[{D},{N}] h_out, float[{D},{N}] decay_out, float[{D}] out) {{
              axis = Constant <value_ints = [1]> ()
              delta_column = Unsqueeze(delta, axis)
              push_column = Unsqueeze(push, axis)
              exponent = Mul(delta_column, decay)
              kept = Exp(exponent)
              old = Mul(kept, h)
              new = Mul(push_column, B)
              h_out = Add(old, new)
              decay_out = Identity(decay)
              out = MatMul(h_out, C)
            }}> (h_start{k}, A{k}, delta{k}, pushed{k}, B{k}, C{k})
          steps{k} = Add(read{k}, skip{k})
          {flipped(f"steps{k}", f"tokens{k}")}
          y{k} = Unsqueeze(tokens{k}, first)"""


def in_openvino(model: onnx.ModelProto, inputs: dict, precision: str = "f32") -> Callable[[], np.ndarray]:
    """A run on THREADS threads, its inputs shared and not copied. precision: "f32" or "bf16"."""
    import openvino

    core = openvino.Core()
    settings = {
        "INFERENCE_NUM_THREADS": THREADS,
        "INFERENCE_PRECISION_HINT": precision,
        "PERFORMANCE_HINT": "LATENCY",
    }
    compiled = core.compile_model(core.read_model(model.SerializeToString()), "CPU", settings)
    request = compiled.create_infer_request()
    arrays = list(inputs.values())
    return lambda: request.infer(arrays, share_inputs=True, share_outputs=True)[0]


def main() -> None:
    try:
        import openvino
    except ImportError:
        print("OpenVINO is not installed: pip install openvino")
        return
    print(f"OpenVINO {openvino.__version__}")
    scan = scan_op.case(SCAN_TOKENS).inputs()
    conv = conv_op.case(262144).inputs()
    kan = KanCase(1, 48, 48, 262144, kan_op.BASES, -1.0, 1.0, seed=0).inputs()
    both = {"directions": "forward,backward"}
    for case, op, inputs, attributes, graph in (
        (
            f"scan, L={SCAN_TOKENS} D=96 N=16 K=2",
            "BidirectionalSelectiveScan",
            scan,
            both,
            stepwise_scan(scan),
        ),
        ("convolution, L=262144 D=96 W=4 K=2", "DirectionalConv1d", conv, both, conv_op.grouped_conv(conv)),
        ("KAN layer, C=48 L=262144", "KanLinear", kan, {}, kan_op.materialised(48, 262144)),
    ):
        ours = session(node_model(op, inputs, **attributes), THREADS)
        contestants = [
            Contestant("msdk_rt", lambda ours=ours, inputs=inputs: ours.run(None, inputs)[0], THREADS),
            Contestant(f"OpenVINO {openvino.__version__.split('-')[0]}", in_openvino(graph, inputs), THREADS),
        ]
        expected, found = (contestant.run() for contestant in contestants)
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3, err_msg=case)
        measure("openvino_peer", case, contestants)
        print()

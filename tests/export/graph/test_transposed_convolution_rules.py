"""Which transposed convolutions of a graph become ConvTranspose3d for the CPU, with the skip behind them."""

import numpy as np
import onnx
import onnx.parser
import pytest

from tests.export.graph.test_cpu_op_rules import ops, with_cpu_ops
from tests.support.nodes import session

TRANSPOSED = """<ir_version: 10, opset_import: ["": 20]>
transposed ({type}[B,3,2,3,4] x, {type}[B,2,4,6,8] skip) => ({type}[B,s,t,u,v] y{outputs})
<{type}[3,4,2,2,2] weight, {type}[4] bias>
{{
    {inputs}
    {nodes}
}}"""


def transposed(nodes, type="float", outputs="", constant=True):
    """A ConvTranspose of constants, or of a weight that depends on x, and what follows it."""
    rng = np.random.default_rng(14)
    inputs = "" if constant else "first = ReduceSum (x)\nweight = Add (held, first)"
    model = onnx.parser.parse_model(TRANSPOSED.format(nodes=nodes, type=type, outputs=outputs, inputs=inputs))
    dtype = np.float32 if type == "float" else np.float16
    for name, shape in (("weight" if constant else "held", (3, 4, 2, 2, 2)), ("bias", (4,))):
        model.graph.initializer.append(
            onnx.numpy_helper.from_array(rng.standard_normal(shape).astype(dtype), name)
        )
    return model


LARGER = "larger = ConvTranspose <strides = [2, 2, 2]> (x, weight, bias)\n"


@pytest.mark.parametrize(
    ("nodes", "inputs"),
    [
        ("y = ConvTranspose <strides = [2, 2, 2]> (x, weight, bias)", 3),
        ("y = ConvTranspose <strides = [2, 2, 2], kernel_shape = [2, 2, 2]> (x, weight)", 3),
        (LARGER + "y = Concat <axis = 1> (larger, skip)", 4),
        (LARGER + "y = Concat <axis = -4> (larger, skip)", 4),
        (LARGER.replace(", bias", "") + "y = Concat <axis = 1> (larger, skip)", 4),
    ],
)
def test_a_transposed_convolution_and_the_skip_behind_it_are_one_op(nodes, inputs):
    plain = transposed(nodes)
    named = with_cpu_ops(plain)
    assert ops(named) == {"ConvTranspose3d": 1}
    (node,) = named.graph.node
    assert len(node.input) == inputs
    onnx.checker.check_model(named, full_check=True)
    rng = np.random.default_rng(15)
    fed = {
        "x": rng.standard_normal((2, 3, 2, 3, 4), dtype=np.float32),
        "skip": rng.standard_normal((2, 2, 4, 6, 8), dtype=np.float32),
    }
    (expected,) = session(plain, library=False).run(None, fed)
    for options in ({}, {"cpu_ops": False}, {"library": False}):
        np.testing.assert_allclose(session(named, **options).run(None, fed)[0], expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (
            {"nodes": LARGER + "y = Concat <axis = 1> (skip, larger)"},
            {"ConvTranspose3d": 1, "Concat": 1},
        ),
        (
            {"nodes": LARGER + "y = Concat <axis = 1> (larger, larger)"},
            {"ConvTranspose3d": 1, "Concat": 1},
        ),
        (
            {"nodes": LARGER + "y = Concat <axis = 1> (larger, skip, skip)"},
            {"ConvTranspose3d": 1, "Concat": 1},
        ),
        (
            {
                "nodes": LARGER + "y = Concat <axis = 1> (larger, skip)\nz = Neg (larger)",
                "outputs": ", float[B,s,t,u,v] z",
            },
            {"ConvTranspose3d": 1, "Concat": 1, "Neg": 1},
        ),
        ({"nodes": "y = ConvTranspose (x, weight, bias)"}, {"ConvTranspose": 1}),
        ({"nodes": "y = ConvTranspose <strides = [2, 2, 1]> (x, weight, bias)"}, {"ConvTranspose": 1}),
        (
            {"nodes": "y = ConvTranspose <strides = [2, 2, 2], pads = [1, 0, 0, 1, 0, 0]> (x, weight, bias)"},
            {"ConvTranspose": 1},
        ),
        (
            {"nodes": "y = ConvTranspose <strides = [2, 2, 2], output_padding = [1, 0, 0]> (x, weight)"},
            {"ConvTranspose": 1},
        ),
        (
            {"nodes": 'y = ConvTranspose <strides = [2, 2, 2], auto_pad = "SAME_UPPER"> (x, weight, bias)'},
            {"ConvTranspose": 1},
        ),
        (
            {"nodes": "y = ConvTranspose <strides = [2, 2, 2]> (x, weight, bias)", "constant": False},
            {"ReduceSum": 1, "Add": 1, "ConvTranspose": 1},
        ),
        (
            {"nodes": "y = ConvTranspose <strides = [2, 2, 2]> (x, weight, bias)", "type": "float16"},
            {"ConvTranspose": 1},
        ),
    ],
    ids=str,
)
def test_any_other_transposed_convolution_stays(options, found):
    assert ops(with_cpu_ops(transposed(**options))) == found

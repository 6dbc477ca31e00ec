"""Which standard ops of a float16 graph become msdk ops for a GPU, and which stay as they are."""

import collections

import numpy as np
import onnx
import onnx.parser
import pytest

from msdk_export.graph import rules
from msdk_export.graph.functions import attach_functions
from tests.support import oracle
from tests.support.nodes import session

WEIGHT, BIAS = np.array([0.5, -2, 3], np.float32), np.array([1, 0, -1], np.float32)
GRAPH = """<ir_version: 10, opset_import: ["": 20]>
norms (float16[B,3,4,5,6] x, float16[{skip}] skip) => (float16[B,3,4,5,6] y{outputs})
<float[3] weight = {{0.5, -2, 3}}, float[3] bias = {{1, 0, -1}},
 float[B,3,4,5,6] single, float[B,3,4,5,6] norm, float16[B,3,4,5,6] half, float16[B,3,4,5,6] sum>
{{
    single = Cast <to = 1> (x)
    norm = InstanceNormalization <epsilon = 0.001> (single, weight, bias)
    half = Cast <to = 10> (norm)
    {nodes}
}}"""

TOKENS = """<ir_version: 10, opset_import: ["": 20]>
tokens (float16[B,3,17] x) => (float16[B,3,17] y)
<float[1,3] average = {0.33333334, 0.33333334, 0.33333334}, float[1] epsilon = {0.001},
 float[3,1] weight = {0.5, -2, 3}, float[3,1] bias = {1, 0, -1},
 float16[B,3,17] before, float[B,3,17] single>
{
    before = Sigmoid (x)
    single = Cast <to = 1> (before)
    mean = MatMul (average, single)
    centred = Sub (single, mean)
    square = Mul (centred, centred)
    variance = MatMul (average, square)
    positive = Add (variance, epsilon)
    deviation = Sqrt (positive)
    scale = Reciprocal (deviation)
    normalised = Mul (centred, scale)
    weighted = Mul (normalised, weight)
    norm = Add (weighted, bias)
    half = Cast <to = 10> (norm)
    y = Sigmoid (half)
}"""


def ops(model):
    return dict(collections.Counter(node.op_type for node in model.graph.node))


def graph(nodes, skip="B,3,4,5,6", outputs=""):
    return onnx.parser.parse_model(GRAPH.format(nodes=nodes, skip=skip, outputs=outputs))


@pytest.mark.parametrize(
    ("nodes", "added", "activation"),
    [
        ("y = Identity (half)", False, "none"),
        ("y = Relu (half)", False, "relu"),
        ("y = LeakyRelu <alpha = 0.2> (half)", False, "leaky_relu"),
        ("y = Add (half, skip)", True, "none"),
        ("sum = Add (skip, half)\ny = Relu (sum)", True, "relu"),
        ("sum = Add (half, skip)\ny = LeakyRelu <alpha = 0.2> (sum)", True, "leaky_relu"),
    ],
)
def test_an_instance_norm_takes_its_casts_and_what_follows(nodes, added, activation):
    named = attach_functions(rules.with_cuda_ops(graph(nodes)))
    assert set(ops(named)) - {"Identity"} == {"InstanceNorm"}
    onnx.checker.check_model(named, full_check=True)
    rng = np.random.default_rng(7)
    x, skip = (rng.standard_normal((2, 3, 4, 5, 6)).astype(np.float16) for _ in range(2))
    addend = skip if added else None
    expected = oracle.instance_norm(x, WEIGHT, BIAS, addend, 1e-3, activation, 0.2)
    for options in ({}, {"cpu_ops": False}, {"library": False}):
        actual = session(named, **options).run(None, {"x": x, "skip": skip})[0]
        assert actual.dtype == np.float16
        np.testing.assert_allclose(actual, expected, rtol=3e-3, atol=5e-3)


@pytest.mark.parametrize(
    ("options", "left"),
    [
        ({"nodes": "y = Sigmoid (half)"}, {"InstanceNorm": 1, "Sigmoid": 1}),
        ({"nodes": "y = Add (half, skip)", "skip": "B,3,1,1,1"}, {"InstanceNorm": 1, "Add": 1}),
        (
            {"nodes": "y = Relu (half)\nz = Neg (norm)", "outputs": ", float[B,3,4,5,6] z"},
            {"Cast": 2, "InstanceNormalization": 1, "Relu": 1, "Neg": 1},
        ),
    ],
)
def test_what_is_no_part_of_an_instance_norm(options, left):
    assert ops(rules.with_cuda_ops(graph(**options))) == left


def test_a_token_norm_takes_its_casts():
    named = rules.with_cuda_ops(onnx.parser.parse_model(TOKENS))
    assert ops(named) == {"Sigmoid": 2, "TokenNorm": 1}
    x = np.random.default_rng(3).standard_normal((2, 3, 17)).astype(np.float16)
    before = 1 / (1 + np.exp(-x.astype(np.float64)))
    expected = 1 / (1 + np.exp(-oracle.token_norm(before, WEIGHT, BIAS, 1e-3)))
    for options in ({}, {"cpu_ops": False}, {"library": False}):
        actual = session(attach_functions(named), **options).run(None, {"x": x})[0]
        assert actual.dtype == np.float16
        np.testing.assert_allclose(actual, expected, atol=5e-3)

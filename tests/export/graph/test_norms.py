"""Which instance norms of a graph become part of the convolutions around them, and what it gives then."""

import numpy as np
import onnx
import onnx.parser
import pytest

from tests.export.graph.test_cpu_op_rules import ops, with_cpu_ops
from tests.support.nodes import session

GRAPH = """<ir_version: 10, opset_import: ["": 20]>
normed (float[B,3,6,8,10] x{inputs}) => (float[B,c,d,h,w] y{outputs})
<float[4,3,3,3,3] first, float[4,4,3,3,3] weight, float[4,4,1,1,1] head, float[4,1,3,3,3] each,
 float[5,4,2,2,2] up, float[4,4,2,2,2] up_of_4,
 float[4] scale, float[4] shift, float[4] bias, float[4] up_bias>
{{
    {nodes}
}}"""
PADDED = "pads = [1, 1, 1, 1, 1, 1]"
BEFORE = f"before = Conv <{PADDED}> (x, first)\n"
NORM = "norm = InstanceNormalization <epsilon: float = 0.01> (before, scale, shift)\n"
RELU = "read = LeakyRelu <alpha: float = 0.2> (norm)\n"
CONV = f"y = Conv <{PADDED}> (read, weight, bias)\n"


def graph(nodes, inputs="", outputs=""):
    rng = np.random.default_rng(31)
    model = onnx.parser.parse_model(GRAPH.format(nodes=nodes, inputs=inputs, outputs=outputs))
    shapes = {
        "first": (4, 3, 3, 3, 3),
        "weight": (4, 4, 3, 3, 3),
        "head": (4, 4, 1, 1, 1),
        "up": (5, 4, 2, 2, 2),
        "up_of_4": (4, 4, 2, 2, 2),
        "each": (4, 1, 3, 3, 3),
        **dict.fromkeys(("scale", "shift", "bias", "up_bias"), (4,)),
    }
    for name, shape in shapes.items():
        values = rng.standard_normal(shape).astype(np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    return onnx.shape_inference.infer_shapes(model)


def fed(model):
    rng = np.random.default_rng(32)
    shapes = {"x": (2, 3, 6, 8, 10), "low": (2, 5, 3, 4, 5), "other": (2, 4, 6, 8, 10)}
    return {
        value.name: (2 + rng.standard_normal(shapes[value.name])).astype(np.float32)
        for value in model.graph.input
    }


def assert_same(plain, named):
    onnx.checker.check_model(named, full_check=True)
    feeds = fed(plain)
    expected = session(plain, library=False).run(None, feeds)
    for options in ({}, {"threads": 1}, {"cpu_ops": False}, {"library": False}):
        for actual, wanted in zip(session(named, **options).run(None, feeds), expected, strict=True):
            np.testing.assert_allclose(actual, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())


@pytest.mark.parametrize(
    ("nodes", "found"),
    [
        (BEFORE + NORM + RELU + CONV, {"NormConv3d": 2}),
        (BEFORE + NORM + RELU.replace("LeakyRelu <alpha: float = 0.2>", "Relu") + CONV, {"NormConv3d": 2}),
        (BEFORE + NORM + CONV.replace("read", "norm").replace(", bias", ""), {"NormConv3d": 2}),
        (BEFORE + NORM + RELU + "y = Conv (read, head, bias)", {"NormConv3d": 2}),
        (BEFORE + NORM + RELU + CONV.replace(PADDED, f"{PADDED}, strides = [2, 2, 2]"), {"NormConv3d": 2}),
        (  # by one convolution after the other
            BEFORE + NORM + RELU + f"between = Conv <{PADDED}> (read, weight)\n"
            "norm_2 = InstanceNormalization (between, scale, shift)\ny = Conv (norm_2, head, bias)",
            {"NormConv3d": 3},
        ),
        (  # a residual of what the convolution before gives
            BEFORE + NORM + RELU + CONV.replace("y =", "z =") + "y = Add (z, before)",
            {"NormConv3d": 2, "Add": 1},
        ),
    ],
)
def test_a_norm_between_convolutions_is_part_of_both(nodes, found):
    plain = graph(nodes)
    named = with_cpu_ops(plain)
    assert ops(named) == found
    assert_same(plain, named)


def test_of_a_skip_both_that_read_it_take_it_over():
    nodes = (
        BEFORE + NORM + RELU + CONV + "larger = ConvTranspose <strides = [2, 2, 2]> (low, up, up_bias)\n"
        "z = Concat <axis = 1> (larger, read)"
    )
    plain = graph(nodes, inputs=", float[B,5,3,4,5] low", outputs=", float[B,t,u,v,s] z")
    named = with_cpu_ops(plain)
    assert ops(named) == {"NormConv3d": 2, "NormConvTranspose3d": 1}
    before = next(node for node in named.graph.node if len(node.output) == 2)
    assert [node.input[-1] for node in named.graph.node if node is not before] == [before.output[1]] * 2
    assert_same(plain, named)


@pytest.mark.parametrize(("epsilon", "alike"), [("0.01", True), ("0.02", False)])
def test_of_a_skip_and_what_is_doubled_both_norms_are_taken_over_if_they_are_alike(epsilon, alike):
    nodes = (
        f"{BEFORE}{NORM}{RELU}{CONV}"
        f"deep = Conv <{PADDED}, strides = [2, 2, 2]> (other, weight)\n"
        f"deep_norm = InstanceNormalization <epsilon: float = {epsilon}> (deep, scale, shift)\n"
        "deep_read = LeakyRelu <alpha: float = 0.2> (deep_norm)\n"
        "larger = ConvTranspose <strides = [2, 2, 2]> (deep_read, up_of_4, up_bias)\n"
        "z = Concat <axis = 1> (larger, read)"
    )
    plain = graph(nodes, inputs=", float[B,4,6,8,10] other", outputs=", float[B,t,u,v,s] z")
    named = with_cpu_ops(plain)
    kept = {} if alike else {"Conv3d": 1, "InstanceNorm": 1}
    assert ops(named) == {"NormConv3d": 3 if alike else 2, "NormConvTranspose3d": 1, **kept}
    assert_same(plain, named)


def test_a_norm_of_anything_is_part_of_the_one_convolution_behind_it():
    nodes = NORM.replace("before", "other") + RELU + CONV
    plain = graph(nodes, inputs=", float[B,4,6,8,10] other")
    named = with_cpu_ops(plain)
    assert ops(named) == {"NormConv3d": 1}
    assert len(named.graph.node[0].input) == 5
    assert_same(plain, named)


@pytest.mark.parametrize(
    ("nodes", "declared", "found"),
    [
        (BEFORE + NORM + RELU + CONV + "z = Neg (read)", True, {"Conv3d": 2, "InstanceNorm": 1, "Neg": 1}),
        (BEFORE + NORM + "z = LeakyRelu (norm)\n" + CONV.replace("read", "z"), True, None),
        (
            BEFORE + NORM + RELU + CONV.replace(PADDED, f"{PADDED}, group = 4").replace("weight", "each"),
            False,
            {"Conv3d": 2, "InstanceNorm": 1},
        ),
        (
            BEFORE + NORM + "sum = Add (norm, before)\n" + RELU.replace("norm", "sum") + CONV,
            False,
            {"Conv3d": 2, "InstanceNorm": 1},
        ),
        (  # two would add up the moments
            "before = Neg (other)\n" + NORM + RELU + CONV + "z = Conv (read, head, bias)",
            True,
            {"Conv3d": 2, "InstanceNorm": 1, "Neg": 1},
        ),
        (BEFORE + NORM + "y = Identity (norm)", False, {"Conv3d": 1, "InstanceNorm": 1, "Identity": 1}),
    ],
)
def test_any_other_norm_stays(nodes, declared, found):
    inputs = ", float[B,4,6,8,10] other" if "other" in nodes else ""
    plain = graph(nodes, inputs=inputs, outputs=", float[B,t,u,v,s] z" if declared else "")
    named = with_cpu_ops(plain)
    assert ops(named) == (found or {"Conv3d": 2, "InstanceNorm": 1})
    assert_same(plain, named)

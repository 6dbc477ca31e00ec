"""What becomes a msdk op for the CPU in a graph of standard ops, and what stays as it is."""

import collections

import numpy as np
import onnx
import onnx.parser
import oracle
import pytest
from nodes import session

from msdk_export.cpu_ops import with_cpu_ops
from msdk_export.functions import strip_functions

GRAPH = """<ir_version: 10, opset_import: ["": 20]>
upsamplings ({type}[B,2,3,4,5] x, {type}[{skip}] skip) => ({type}[B,2,d,h,w] y{outputs})
<{values}{type}[{doubled}] doubled, float[5] scales = {{1, 1, {scales}}}>
{{
    doubled = Resize <mode = "{mode}", coordinate_transformation_mode = "{coordinates}"> (x, , scales)
    {nodes}
}}"""
PARTS = {
    "type": "float",
    "skip": "B,2,6,8,10",
    "doubled": "B,2,6,8,10",
    "outputs": "",
    "values": "",
    "scales": "2, 2, 2",
    "mode": "linear",
    "coordinates": "half_pixel",
    "nodes": "y = Add (doubled, skip)",
}


def graph(**parts):
    return onnx.parser.parse_model(GRAPH.format(**(PARTS | parts)))


def ops(model):
    return dict(collections.Counter(node.op_type for node in model.graph.node))


def run(model, x, skip, **options):
    return session(model, **options).run(None, {"x": x, "skip": skip})


@pytest.fixture
def feeds():
    rng = np.random.default_rng(9)
    x, skip = rng.standard_normal((2, 2, 3, 4, 5)), rng.standard_normal((2, 2, 6, 8, 10))
    return {"x": x.astype(np.float32), "skip": skip.astype(np.float32)}


@pytest.mark.parametrize("nodes", ["y = Add (doubled, skip)", "y = Add (skip, doubled)"])
def test_an_addition_of_the_same_shape_is_part_of_the_upsampling(nodes, feeds):
    named = with_cpu_ops(graph(nodes=nodes))

    assert ops(named) == {"TrilinearUpsample": 1}
    assert not named.graph.initializer
    onnx.checker.check_model(named, full_check=True)
    expected = oracle.trilinear_upsample(feeds["x"], feeds["skip"])
    for options in ({}, {"cpu_ops": False}, {"cpu_ops": False, "library": False}):
        np.testing.assert_allclose(run(named, **feeds, **options)[0], expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "parts",
    [
        {"skip": "B,2,6,8,1"},
        {"skip": "2,6,8,10"},
        {"skip": "N,2,6,8,10"},
        {"skip": "?,2,6,8,10", "doubled": "?,2,6,8,10"},
        {"nodes": "y = Mul (doubled, skip)"},
        {"nodes": "y = Add (doubled, doubled)"},
        {"nodes": "sum = Add (doubled, skip)\ny = Mul (doubled, sum)"},
        {"outputs": ", float[B,2,6,8,10] doubled", "values": ""},
        {
            "nodes": """condition = Constant <value = bool {1}> ()
                y = If (condition) <
                    then_branch = a () => (float[B,2,6,8,10] r) { r = Neg (doubled) },
                    else_branch = b () => (float[B,2,6,8,10] s) { s = Identity (skip) }>"""
        },
    ],
    ids=lambda parts: ", ".join(parts.values()).split("\n")[0],
)
def test_any_other_reader_leaves_an_upsampling_alone(parts):
    plain = graph(**parts)
    named = with_cpu_ops(plain)

    onnx.checker.check_model(named, full_check=True)
    assert ops(named) == {
        "TrilinearUpsample" if op == "Resize" else op: count for op, count in ops(plain).items()
    }


def test_an_addition_of_two_upsamplings_is_part_of_one(feeds):
    nodes = """other = Neg (x)
        also_doubled = Resize <mode = "linear"> (other, , scales)
        y = Add (doubled, also_doubled)"""
    named = with_cpu_ops(
        graph(nodes=nodes, values="float[B,2,6,8,10] also_doubled, float[B,2,3,4,5] other, ")
    )

    assert ops(named) == {"Neg": 1, "TrilinearUpsample": 2}
    assert {function.overload for function in named.functions} == {"", "added"}
    for library in (True, False):
        (y,) = run(named, **feeds, library=library)
        np.testing.assert_allclose(y, np.zeros(y.shape), atol=1e-6)


def test_unknown_shapes_and_types():
    model = graph()
    del model.graph.value_info[:]
    assert ops(with_cpu_ops(model)) == {"TrilinearUpsample": 1, "Add": 1}

    model = graph(
        nodes='other = Neg (x)\nagain = Resize <mode = "linear"> (other, , scales)\ny = Add (doubled, again)'
    )
    assert ops(with_cpu_ops(model)) == {"TrilinearUpsample": 1, "Neg": 1, "Resize": 1, "Add": 1}


@pytest.mark.parametrize(
    "parts",
    [
        {"mode": "nearest"},
        {"coordinates": "align_corners"},
        {"coordinates": "asymmetric"},
        {"scales": "3, 3, 3"},
        {"scales": "2, 2, 1"},
        {"type": "float16"},
    ],
    ids=str,
)
def test_any_other_resize_stays(parts):
    plain = graph(**parts)
    named = with_cpu_ops(plain)
    assert ops(named) == {"Resize": 1, "Add": 1}
    assert named.graph == plain.graph


def test_images_in_2d_stay():
    model = onnx.parser.parse_model("""<ir_version: 10, opset_import: ["": 20]>
    plane (float[1,2,3,4] x) => (float[1,2,6,8] y) <float[4] scales = {1, 1, 2, 2}>
    { y = Resize <mode = "linear"> (x, , scales) }""")
    assert ops(with_cpu_ops(model)) == {"Resize": 1}


def test_naming_again_changes_no_byte():
    once = with_cpu_ops(graph())
    for again in (with_cpu_ops(once), with_cpu_ops(graph()), with_cpu_ops(strip_functions(once))):
        assert again.SerializeToString(deterministic=True) == once.SerializeToString(deterministic=True)

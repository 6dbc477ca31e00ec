"""Which standard ops of a graph become msdk ops for the CPU, and which stay as they are."""

import collections

import numpy as np
import onnx
import onnx.parser
import pytest
import torch

from msdk_export.graph import rules
from msdk_export.graph.functions import attach_functions, strip_functions
from msdk_export.graph.trace import module_to_onnx
from msdk_export.layers import TokenNorm
from tests.support import oracle
from tests.support.around_ops import standard_ops
from tests.support.nodes import session

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


def with_cpu_ops(model):
    """As an export does: the bodies at the end."""
    return attach_functions(rules.with_cpu_ops(model))


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
    for node in plain.graph.node:
        node.domain = ""  # said or not, it is the same domain
    for node in named.graph.node:
        node.domain = ""
    assert list(named.graph.node) == list(plain.graph.node)
    assert list(named.graph.initializer) == list(plain.graph.initializer)


def test_images_in_2d_stay():
    model = onnx.parser.parse_model("""<ir_version: 10, opset_import: ["": 20]>
    plane (float[1,2,3,4] x) => (float[1,2,6,8] y) <float[4] scales = {1, 1, 2, 2}>
    { y = Resize <mode = "linear"> (x, , scales) }""")
    assert ops(with_cpu_ops(model)) == {"Resize": 1}


def test_naming_again_changes_no_byte():
    once = with_cpu_ops(graph())
    for again in (with_cpu_ops(once), with_cpu_ops(graph()), with_cpu_ops(strip_functions(once))):
        assert again.SerializeToString(deterministic=True) == once.SerializeToString(deterministic=True)


def exported(module, *shape):
    return module_to_onnx(module.eval(), [torch.ones(shape)], ["x"], ["y"], dynamic_batch=False)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {"strides": [1, 1, 1], "pads": [0] * 6, "group": 1}),
        ({"stride": 2, "padding": 1}, {"strides": [2, 2, 2], "pads": [1] * 6, "group": 1}),
        ({"groups": 4, "bias": False}, {"strides": [1, 1, 1], "pads": [0] * 6, "group": 4}),
        ({"groups": 2}, None),
        ({"dilation": 2}, None),
    ],
    ids=str,
)
def test_which_convolutions_become_ours(options, expected):
    torch.manual_seed(1)
    module = torch.nn.Conv3d(4, 4, 3, **options)
    named = with_cpu_ops(exported(module, 1, 4, 6, 7, 8))

    assert ops(named) == {"Conv3d" if expected else "Conv": 1}
    if expected:
        (node,) = named.graph.node
        assert {entry.name: onnx.helper.get_attribute_value(entry) for entry in node.attribute} == expected
        assert node.name
    x = torch.randn(1, 4, 6, 7, 8)
    for run_options in ({}, {"cpu_ops": False, "library": False}):
        (y,) = session(named, **run_options).run(None, {"x": x.numpy()})
        np.testing.assert_allclose(y, module(x).detach(), rtol=0, atol=2e-6)


def test_convolutions_of_single_voxels_become_ours():
    module = torch.nn.Conv3d(4, 9, 1)
    named = with_cpu_ops(exported(module, 2, 4, 3, 4, 5))
    assert ops(named) == {"Conv3d": 1}
    x = torch.randn(2, 4, 3, 4, 5)
    for options in ({}, {"cpu_ops": False, "library": False}):
        (y,) = session(named, **options).run(None, {"x": x.numpy()})
        np.testing.assert_allclose(y, module(x).detach(), rtol=0, atol=2e-6)


@pytest.mark.parametrize(
    ("module", "shape"),
    [
        (torch.nn.Conv3d(2, 3, 2), (1, 2, 4, 4, 4)),
        (torch.nn.Conv3d(2, 3, 1, padding=1), (1, 2, 4, 4, 4)),
        (torch.nn.Conv3d(2, 3, 1, stride=2), (1, 2, 4, 4, 4)),
        (torch.nn.Conv3d(2, 2, 1, groups=2), (1, 2, 4, 4, 4)),
        (torch.nn.Conv2d(2, 3, 1), (1, 2, 4, 4)),
        (torch.nn.Conv2d(2, 3, 7), (1, 2, 9, 9)),
        (torch.nn.Conv3d(2, 3, (1, 1, 27)), (1, 2, 1, 1, 30)),
    ],
    ids=str,
)
def test_other_convolutions_stay(module, shape):
    assert ops(with_cpu_ops(exported(module, *shape))) == {"Conv": 1}


@pytest.mark.parametrize(
    ("module", "kernel"),
    [
        (torch.nn.AvgPool3d(2), [2, 2, 2]),
        (torch.nn.AvgPool3d((1, 2, 2)), [1, 2, 2]),
        (torch.nn.AvgPool3d((2, 2, 1), stride=(2, 2, 1), count_include_pad=False), [2, 2, 1]),
    ],
    ids=str,
)
def test_means_of_boxes_side_by_side_become_ours(module, kernel):
    named = with_cpu_ops(exported(module, 1, 4, 5, 6, 35))

    assert ops(named) == {"AveragePool3d": 1}
    onnx.checker.check_model(named, full_check=True)
    (node,) = named.graph.node
    attributes = {entry.name: onnx.helper.get_attribute_value(entry) for entry in node.attribute}
    assert attributes == {"kernel": kernel}
    x = torch.randn(1, 4, 5, 6, 35, generator=torch.Generator().manual_seed(2))
    for options in ({}, {"cpu_ops": False}, {"cpu_ops": False, "library": False}):
        (y,) = session(named, **options).run(None, {"x": x.numpy()})
        np.testing.assert_allclose(y, module(x), rtol=0, atol=1e-6)
    assert ops(standard_ops(named)) == {"AveragePool": 1}


POOLING = """<ir_version: 10, opset_import: ["": 20]>
pooling ({type}[B,3,7,8,9] x) => ({type}[B,3,d,h,w] y) {{ y = AveragePool <{attributes}> (x) }}"""
BOXES = "kernel_shape = [2, 2, 2], strides = [2, 2, 2]"


def pooling(attributes, type="float"):
    return onnx.parser.parse_model(POOLING.format(attributes=attributes, type=type))


@pytest.mark.parametrize(
    "attributes",
    [
        BOXES,
        f"{BOXES}, pads = [0, 0, 0, 0, 0, 0], dilations = [1, 1, 1], ceil_mode = 0",
        f'{BOXES}, auto_pad = "NOTSET", count_include_pad = 1',
        "kernel_shape = [1, 1, 2], strides = [1, 1, 2]",
    ],
)
def test_which_average_pools_become_ours(attributes):
    plain = pooling(attributes)
    named = with_cpu_ops(plain)
    assert ops(named) == {"AveragePool3d": 1}
    x = np.random.default_rng(5).standard_normal((2, 3, 7, 8, 9), dtype=np.float32)
    (expected,) = session(plain).run(None, {"x": x})
    for options in ({}, {"cpu_ops": False, "library": False}):
        np.testing.assert_allclose(session(named, **options).run(None, {"x": x})[0], expected, atol=1e-6)


@pytest.mark.parametrize(
    ("attributes", "type"),
    [
        ("kernel_shape = [2, 2, 2]", "float"),
        ("kernel_shape = [2, 2, 2], strides = [2, 2, 1]", "float"),
        ("kernel_shape = [1, 1, 1], strides = [1, 1, 1]", "float"),
        ("kernel_shape = [1, 1, 1], strides = [2, 2, 2]", "float"),
        ("kernel_shape = [3, 3, 3], strides = [3, 3, 3]", "float"),
        ("kernel_shape = [2, 2, 3], strides = [2, 2, 3]", "float"),
        (f"{BOXES}, pads = [0, 0, 0, 0, 0, 1]", "float"),
        (f"{BOXES}, ceil_mode = 1", "float"),
        (f"{BOXES}, dilations = [1, 1, 2]", "float"),
        (f'{BOXES}, auto_pad = "SAME_UPPER"', "float"),
        (f'{BOXES}, auto_pad = "VALID"', "float"),
        (BOXES, "float16"),
        (BOXES, "double"),
    ],
)
def test_other_average_pools_stay(attributes, type):
    assert ops(with_cpu_ops(pooling(attributes, type))) == {"AveragePool": 1}


def test_average_pools_of_planes_stay():
    assert ops(with_cpu_ops(exported(torch.nn.AvgPool2d(2), 1, 2, 4, 6))) == {"AveragePool": 1}


PRODUCT = """<ir_version: 10, opset_import: ["": 20]>
products (float[{x}] x, float[B,7,L] other) => (float[{y}] y{outputs})
<float[{weight}] weight = {{{numbers}}}, float[B,7,L] product>
{{
    {nodes}
}}"""
PRODUCT_PARTS = {
    "x": "B,5,L",
    "y": "B,7,L",
    "weight": "7,5",
    "outputs": "",
    "nodes": "y = MatMul (weight, x)",
}
SUM = "product = MatMul (weight, x) y = Add (product, other)"


def products(**parts):
    parts = PRODUCT_PARTS | parts
    count = np.prod([int(side) for side in parts["weight"].split(",")])
    numbers = ", ".join(str(number) for number in np.random.default_rng(2).integers(-4, 5, count) / 4)
    return onnx.parser.parse_model(PRODUCT.format(**parts, numbers=numbers))


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ({}, {"TokenLinear": 1}),
        ({"x": "B,2,5,L", "y": "B,2,7,L", "weight": "2,7,5"}, {"TokenLinear": 1}),
        ({"nodes": SUM}, {"TokenLinear": 1}),
        ({"nodes": "product = MatMul (weight, x) y = Add (other, product)"}, {"TokenLinear": 1}),
        ({"nodes": "product = MatMul (weight, x) y = Add (product, product)"}, {"TokenLinear": 1, "Add": 1}),
        ({"nodes": SUM, "outputs": ", float[B,7,L] product"}, {"TokenLinear": 1, "Add": 1}),
        ({"x": "B,2,5,L", "y": "B,2,7,L", "weight": "7,5"}, {"MatMul": 1}),
        ({"x": "2,5,L", "y": "2,7,L", "weight": "2,7,5"}, {"MatMul": 1}),
        ({"y": "B,1,L", "weight": "1,5"}, {"MatMul": 1}),
    ],
    ids=str,
)
def test_which_products_become_ours(parts, expected):
    plain = products(**parts)
    named = with_cpu_ops(plain)
    assert ops(named) == expected
    onnx.checker.check_model(named, full_check=True)
    rng = np.random.default_rng(3)
    names = (parts.get("x") or PRODUCT_PARTS["x"]).split(",")
    sides = [{"B": 2, "L": 19}.get(name) or int(name) for name in names]
    fed = {"x": rng.standard_normal(sides, dtype=np.float32)}
    fed["other"] = rng.standard_normal((2, 7, 19), dtype=np.float32)
    expected_y = session(plain).run(["y"], fed)[0]
    for options in ({}, {"cpu_ops": False, "library": False}):
        np.testing.assert_allclose(
            session(named, **options).run(["y"], fed)[0], expected_y, rtol=0, atol=5e-6
        )


def test_a_norm_of_tokens_is_one_op():
    module = TokenNorm(5, eps=1e-3)
    torch.nn.init.normal_(module.weight)
    torch.nn.init.normal_(module.bias)
    plain = exported(module, 2, 5, 30)
    named = with_cpu_ops(plain)

    assert ops(named) == {"TokenNorm": 1}
    onnx.checker.check_model(named, full_check=True)
    x = torch.randn(2, 5, 30)
    for options in ({}, {"cpu_ops": False, "library": False}):
        (y,) = session(named, **options).run(None, {"x": x.numpy()})
        np.testing.assert_allclose(y, module(x).detach(), rtol=0, atol=5e-6)


@pytest.mark.parametrize("change", ["average", "reader", "shape"])
def test_what_is_nearly_a_norm_of_tokens_stays(change):
    plain = exported(TokenNorm(5), 2, 5, 30)
    (row,) = (tensor for tensor in plain.graph.initializer if list(tensor.dims) == [1, 5])
    if change == "average":
        row.CopyFrom(onnx.numpy_helper.from_array(np.float32([[0.1, 0.1, 0.1, 0.1, 0.6]]), row.name))
    elif change == "shape":
        weight = next(tensor for tensor in plain.graph.initializer if list(tensor.dims) == [5, 1])
        weight.CopyFrom(onnx.numpy_helper.from_array(np.ones((5, 30), np.float32), weight.name))
    else:
        centred = next(node for node in plain.graph.node if node.op_type == "Sub").output[0]
        plain.graph.output.append(onnx.helper.make_tensor_value_info(centred, 1, [2, 5, 30]))
    assert ops(with_cpu_ops(plain)) == ops(plain)


def test_an_artifact_gives_its_standard_ops_back(feeds):
    plain = graph(nodes="sum = Add (doubled, skip)\nother = Neg (sum)\ny = Add (other, skip)")
    back = standard_ops(with_cpu_ops(plain))
    assert set(ops(back)) <= {"Resize", "Add", "Neg", "Constant", "Identity"}
    assert not back.functions
    np.testing.assert_array_equal(run(back, **feeds, library=False)[0], run(plain, **feeds, library=False)[0])


NORMS = """<ir_version: 10, opset_import: ["": 20]>
norms ({type}[B,3,4,5,6] x, {type}[3] weight, {type}[3] bias, {type}[{skip}] skip)
=> ({type}[B,3,4,5,6] y{outputs})
<{type}[B,3,4,5,6] norm, {type}[B,3,4,5,6] sum>
{{
    norm = InstanceNormalization <epsilon = 0.001> (x, weight, bias)
    {nodes}
}}"""


def norms(nodes, skip="B,3,4,5,6", type="float", outputs=""):
    return onnx.parser.parse_model(NORMS.format(nodes=nodes, skip=skip, type=type, outputs=outputs))


@pytest.mark.parametrize(
    ("nodes", "inputs", "activation", "slope"),
    [
        ("y = Identity (norm)", 3, b"none", 0.01),
        ("y = Relu (norm)", 3, b"relu", 0.01),
        ("y = LeakyRelu <alpha = 0.25> (norm)", 3, b"leaky_relu", 0.25),
        ("y = LeakyRelu (norm)", 3, b"leaky_relu", 0.01),
        ("y = Add (norm, skip)", 4, b"none", 0.01),
        ("y = Add (skip, norm)", 4, b"none", 0.01),
        ("sum = Add (norm, skip)\ny = Relu (sum)", 4, b"relu", 0.01),
        ("sum = Add (skip, norm)\ny = LeakyRelu <alpha = 0.5> (sum)", 4, b"leaky_relu", 0.5),
    ],
)
def test_what_follows_an_instance_norm_is_part_of_it(nodes, inputs, activation, slope):
    plain = norms(nodes)
    named = with_cpu_ops(plain)
    assert set(ops(named)) <= {"InstanceNorm", "Identity"}
    (node,) = (node for node in named.graph.node if node.domain == "msdk")
    attributes = {entry.name: onnx.helper.get_attribute_value(entry) for entry in node.attribute}
    assert len(node.input) == inputs
    assert attributes["activation"] == activation
    np.testing.assert_allclose([attributes["slope"], attributes["epsilon"]], [slope, 0.001], rtol=1e-6)
    rng = np.random.default_rng(4)
    shapes = {"x": (2, 3, 4, 5, 6), "weight": (3,), "bias": (3,), "skip": (2, 3, 4, 5, 6)}
    fed = {name: rng.standard_normal(shape, dtype=np.float32) for name, shape in shapes.items()}
    (expected,) = session(plain, library=False).run(None, fed)
    for options in ({}, {"cpu_ops": False}, {"library": False}):
        np.testing.assert_allclose(session(named, **options).run(None, fed)[0], expected, atol=2e-5)


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"nodes": "y = Add (norm, skip)", "skip": "B,3,1,1,1"}, {"InstanceNorm": 1, "Add": 1}),
        ({"nodes": "y = Add (norm, skip)", "skip": "3,4,5,6"}, {"InstanceNorm": 1, "Add": 1}),
        ({"nodes": "y = Add (norm, skip)", "skip": "C,3,4,5,6"}, {"InstanceNorm": 1, "Add": 1}),
        ({"nodes": "y = Add (norm, norm)"}, {"InstanceNorm": 1, "Add": 1}),
        (
            {"nodes": "y = Relu (norm)\nz = Neg (norm)", "outputs": ", float[B,3,4,5,6] z"},
            {"InstanceNorm": 1, "Relu": 1, "Neg": 1},
        ),
        ({"nodes": "y = Relu (norm)", "type": "float16"}, {"InstanceNormalization": 1, "Relu": 1}),
        ({"nodes": "y = Sigmoid (norm)"}, {"InstanceNorm": 1, "Sigmoid": 1}),
    ],
)
def test_what_is_no_part_of_an_instance_norm(options, found):
    assert ops(with_cpu_ops(norms(**options))) == found


def test_a_group_norm_has_the_kernel_too():
    module = torch.nn.GroupNorm(2, 6)
    named = with_cpu_ops(exported(module, 2, 6, 5, 7, 3))
    assert ops(named)["InstanceNorm"] == 1
    x = torch.randn(2, 6, 5, 7, 3, generator=torch.Generator().manual_seed(3)) + 9
    actual = session(named).run(None, {"x": x.numpy()})[0]
    np.testing.assert_allclose(actual, module(x).detach().numpy(), atol=1e-5)

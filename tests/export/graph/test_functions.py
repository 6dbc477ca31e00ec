"""The ops in standard ONNX: translation from torch, and the bodies run by ONNX Runtime and onnx.reference."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from msdk_export import ops  # noqa: F401  registers torch.ops.msdk
from msdk_export.graph.functions import attach_functions, strip_functions
from msdk_export.ops.registry import translation_table
from tests.support import cases, grids, oracle

SCANS = [case for case in grids.scan_grid(max_updates=60_000, seed=21) if case.L <= 372][::3]
CONVS = [case for case in grids.conv_grid(seed=22) if case.L <= 372][::4]
KANS = [case for case in grids.kan_grid(seed=23) if case.L <= 372][::2]
RANK = {"DirectionalConv1d": 4, "BidirectionalSelectiveScan": 3, "KanLinear": 3}
PLUGIN = {"plugin_version": "1", "plugin_namespace": "msdk"}


def node(op_type, inputs, output, **attributes):
    return helper.make_node(op_type, inputs, [output], domain="msdk", **attributes, **PLUGIN)


def model_of(nodes, inputs, output_type=TensorProto.FLOAT):
    """A model of msdk nodes whose outputs are the nodes' own; no size is fixed in it."""
    graph = helper.make_graph(
        nodes,
        "graph",
        [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(x.dtype), [None] * x.ndim)
            for name, x in inputs.items()
        ],
        [helper.make_tensor_value_info(n.output[0], output_type, [None] * RANK[n.op_type]) for n in nodes],
    )
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("msdk", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9)


def run_runtime(model, inputs):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, inputs)


def run_reference(model, inputs):
    return ReferenceEvaluator(model).run(None, inputs)


def scan_model(case):
    inputs = {name: x for name, x in case.inputs().items() if x is not None}
    scan = node("BidirectionalSelectiveScan", list(inputs), "y", directions=case.directions, scale=case.scale)
    return attach_functions(model_of([scan], inputs)), inputs


def assert_close(actual, expected, relative_l2=2e-6):
    assert actual.shape == expected.shape
    assert np.linalg.norm(actual - expected) <= relative_l2 * np.linalg.norm(expected)


@pytest.mark.filterwarnings("ignore:.* encountered in:RuntimeWarning:onnx.reference")
@pytest.mark.parametrize("run", [run_runtime, run_reference])
@pytest.mark.parametrize("case", SCANS, ids=str)
def test_scan_body_is_the_oracle(case, run):
    model, inputs = scan_model(case)
    onnx.checker.check_model(model, full_check=True)
    expected = oracle.bidirectional_selective_scan(
        **case.inputs(), directions=case.directions, scale=case.scale
    )
    # onnx.reference's Softplus is log(exp(x) + 1) in float32: it loses what is small beside 1.
    assert_close(run(model, inputs)[0], expected, 2e-6 if run is run_runtime else 2e-4)


@pytest.mark.parametrize("run", [run_runtime, run_reference])
@pytest.mark.parametrize("case", CONVS, ids=str)
def test_conv_body_is_the_oracle(case, run):
    inputs = case.inputs()
    model = attach_functions(
        model_of([node("DirectionalConv1d", list(inputs), "u", directions=case.directions)], inputs)
    )
    onnx.checker.check_model(model, full_check=True)
    expected = oracle.directional_conv1d(**inputs, directions=case.directions)
    assert_close(run(model, inputs)[0], expected)


@pytest.mark.parametrize("run", [run_runtime, run_reference])
@pytest.mark.parametrize("case", KANS, ids=str)
def test_kan_body_is_the_oracle(case, run):
    inputs = case.inputs()
    grid = {"grid_min": case.grid_min, "grid_max": case.grid_max}
    model = attach_functions(model_of([node("KanLinear", list(inputs), "y", **grid)], inputs))
    onnx.checker.check_model(model, full_check=True)
    assert_close(run(model, inputs)[0], oracle.kan_linear(**inputs, **grid))


def test_nodes_with_other_directions_have_bodies_of_their_own():
    case = cases.ConvCase(B=2, K=2, D=3, L=12, W=4, directions="", seed=9)
    inputs = case.inputs()
    lists = ["forward,backward", "slices:4,backward", "slices:4:backward,forward"]
    nodes = [
        node("DirectionalConv1d", list(inputs), f"u{i}", directions=directions)
        for i, directions in enumerate([*lists, lists[0]])
    ]
    model = attach_functions(model_of(nodes, inputs))
    onnx.checker.check_model(model, full_check=True)
    assert len(model.functions) == len({function.overload for function in model.functions}) == len(lists)
    for u, directions in zip(run_runtime(model, inputs), [*lists, lists[0]], strict=True):
        assert_close(u, oracle.directional_conv1d(**inputs, directions=directions))


def test_half_precision_features_come_back_in_half_precision():
    case = cases.ConvCase(B=1, K=1, D=3, L=7, W=3, directions="backward", seed=4)
    inputs = case.inputs()
    inputs["x"] = inputs["x"].astype(np.float16)
    convolution = node("DirectionalConv1d", list(inputs), "u", directions="backward")
    model = attach_functions(model_of([convolution], inputs, TensorProto.FLOAT16))
    (u,) = run_runtime(model, inputs)
    assert u.dtype == np.float16
    np.testing.assert_allclose(u, oracle.directional_conv1d(**inputs, directions="backward"), rtol=1e-3)


def test_strip_undoes_attach_and_neither_changes_its_argument():
    case = cases.ConvCase(B=1, K=1, D=2, L=5, W=2, directions="forward", seed=1)
    bare = model_of(
        [node("DirectionalConv1d", list(case.inputs()), "u", directions="forward")], case.inputs()
    )
    bare.ir_version = 10
    before = bare.SerializeToString(deterministic=True)
    attached = attach_functions(bare)
    with_functions = attached.SerializeToString(deterministic=True)
    assert strip_functions(attached).SerializeToString(deterministic=True) == before
    assert attach_functions(attached).SerializeToString(deterministic=True) == with_functions
    assert bare.SerializeToString(deterministic=True) == before
    assert attached.SerializeToString(deterministic=True) == with_functions


def test_strip_keeps_the_functions_of_others():
    case = cases.ConvCase(B=1, K=1, D=2, L=5, W=2, directions="forward", seed=1)
    model = model_of(
        [node("DirectionalConv1d", list(case.inputs()), "u", directions="forward")], case.inputs()
    )
    model.functions.append(
        onnx.parser.parse_function(
            '<domain: "other", opset_import: ["" : 20]> Twice (x) => (y) {y = Add (x, x)}'
        )
    )
    assert [f.domain for f in attach_functions(model).functions] == ["other", "msdk"]
    assert [f.name for f in strip_functions(attach_functions(model)).functions] == ["Twice"]


class ThreeOps(torch.nn.Module):
    """Every op once, the scan gated and ungated."""

    def __init__(self):
        super().__init__()
        rng = np.random.default_rng(6)
        shapes = {
            "conv_weight": (2, 5, 4),
            "conv_bias": (2, 5),
            "x_proj": (2, 11, 5),
            "dt_weight": (2, 5, 3),
            "dt_bias": (2, 5),
            "A": (2, 5, 4),
            "D_skip": (2, 5),
            "base_weight": (6, 5),
            "spline_weight": (6, 5, 8),
        }
        for name, shape in shapes.items():
            weight = rng.standard_normal(shape, dtype=np.float32)
            self.register_buffer(name, torch.from_numpy(-np.exp(weight) if name == "A" else weight))

    def forward(self, image):
        x = image.flatten(2)
        u = torch.ops.msdk.directional_conv1d(x, self.conv_weight, self.conv_bias, "forward,backward")
        scan = (u, self.x_proj @ u, self.dt_weight, self.dt_bias, self.A, self.D_skip)
        gated = torch.ops.msdk.bidirectional_selective_scan(*scan, x, "forward,backward", 0.5)
        ungated = torch.ops.msdk.bidirectional_selective_scan(*scan, None, "slices:4,backward", 1.0)
        y = torch.ops.msdk.kan_linear(gated + ungated, self.base_weight, self.spline_weight, -1.0, 1.5)
        return y.unflatten(2, image.shape[2:])


@pytest.fixture(scope="module")
def exported():
    program = torch.onnx.export(
        ThreeOps().eval(),
        (torch.randn(2, 5, 4, 3, 2),),
        dynamo=True,
        custom_translation_table=translation_table(),
        dynamic_shapes=({0: torch.export.Dim.DYNAMIC},),
        input_names=["image"],
        output_names=["logits"],
        verbose=False,
    )
    return program.model_proto


def test_translation_writes_every_attribute(exported):
    nodes = [
        (n.op_type, len(n.input), {a.name: helper.get_attribute_value(a) for a in n.attribute})
        for n in exported.graph.node
        if n.domain == "msdk"
    ]
    plugin = {"plugin_version": b"1", "plugin_namespace": b"msdk"}
    assert nodes == [
        ("DirectionalConv1d", 3, {"directions": b"forward,backward"} | plugin),
        ("BidirectionalSelectiveScan", 7, {"directions": b"forward,backward", "scale": 0.5} | plugin),
        ("BidirectionalSelectiveScan", 6, {"directions": b"slices:4,backward", "scale": 1.0} | plugin),
        ("KanLinear", 3, {"grid_min": -1.0, "grid_max": 1.5} | plugin),
    ]


@pytest.mark.parametrize("batch", [1, 3])
def test_exported_graph_with_bodies_is_the_torch_module(exported, batch):
    model = attach_functions(exported)
    onnx.checker.check_model(model, full_check=True)
    image = torch.randn(batch, 5, 4, 3, 2, generator=torch.Generator().manual_seed(batch))
    (logits,) = run_runtime(model, {"image": image.numpy()})
    assert_close(logits, ThreeOps()(image).numpy())

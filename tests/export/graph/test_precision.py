"""float16 graphs: types by rule, agreement with float32, and a name for the layer that cannot have it."""

import collections

import numpy as np
import onnx
import onnx.parser
import onnxruntime
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from onnx import TensorProto
from torch import nn

import msdk_export.onnx_export
from msdk_export import export
from msdk_export.description import describe
from msdk_export.graph.functions import attach_functions
from msdk_export.graph.precision import layer_of, to_float16
from msdk_export.graph.precision_check import ROUNDING, check_range, simulated, worst_layer
from msdk_export.graph.trace import to_onnx
from msdk_export.models import MSDKMamba, MSDKMambaConfig, SegMamba, SegMambaConfig
from msdk_export.ops.registry import spec
from msdk_rt import Segmenter
from msdk_rt.backends.libraries import ops_library
from msdk_rt.errors import ExportError
from tests.support.cases import KanCase
from tests.support.nodes import node_model

KMAMBA = MSDKMambaConfig(in_channels=2, num_classes=3, dims=(4, 6), depths=(1, 1), d_state=3)
SEGMAMBA = SegMambaConfig(2, 3, (4, 6, 8, 10), (1, 1, 1, 1), 12, d_state=3)
NETWORKS = {
    "msd_kmamba": (lambda: MSDKMamba(KMAMBA), (8, 12, 8)),
    "segmamba": (lambda: SegMamba(SEGMAMBA), (32, 32, 32)),
}
DESCRIPTION = {"channels": ["flair", "t1"], "labels": {"background": 0, "edema": 2, "core": 4}}


def description(window):
    return describe({"family": "any", "config": {}, "window": window} | DESCRIPTION)


def image(window, batch=1):
    return np.random.default_rng(5).standard_normal((batch, 2, *window), np.float32)


def run(model, window, batch=1, library=True):
    options = onnxruntime.SessionOptions()
    if library:
        options.register_custom_ops_library(str(ops_library()))
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(["logits"], {"image": image(window, batch)})[0]


@pytest.fixture(scope="module", params=NETWORKS)
def graphs(request):
    """(float32 model, float16 model, window)."""
    torch.manual_seed(6)
    make, window = NETWORKS[request.param]
    network = make().eval().requires_grad_(False)
    precisions = ("float32", "float16")
    graphs = (to_onnx(network, description(window), precision) for precision in precisions)
    return *map(attach_functions, graphs), window


def types_of(model):
    graph = model.graph
    infos = [*graph.value_info, *graph.input, *graph.output]
    types = {info.name: info.type.tensor_type.elem_type for info in infos}
    return types | {tensor.name: tensor.data_type for tensor in graph.initializer}


def test_the_graph_is_strongly_typed_and_typed_by_rule(graphs):
    _, model, _ = graphs
    onnx.checker.check_model(model, full_check=True)
    types = types_of(onnx.shape_inference.infer_shapes(model))
    assert types["image"] == types["logits"] == TensorProto.FLOAT
    seen = collections.Counter()
    for node in model.graph.node:
        found = [types[name] for name in node.input if name]
        if node.domain == "msdk":
            halves = spec(node.op_type).half_inputs
            expected = [TensorProto.FLOAT16 if i in halves else TensorProto.FLOAT for i in range(len(found))]
            assert found == expected
        elif node.op_type in ("InstanceNormalization", "Sqrt", "LayerNormalization"):
            assert set(found) == {TensorProto.FLOAT}
        elif node.op_type == "Conv":
            assert set(found) == {TensorProto.FLOAT16}
        else:
            continue
        seen[node.op_type] += 1
    assert seen["Conv"] > 5
    assert seen["BidirectionalSelectiveScan"] >= 2
    assert seen["InstanceNormalization"] > 2


def test_no_value_is_cast_twice_nor_there_and_back(graphs):
    _, model, _ = graphs
    casts = [node for node in model.graph.node if node.op_type == "Cast"]
    made = {node.output[0] for node in casts}
    assert [node.name for node in casts if node.input[0] in made] == []
    assert len({node.input[0] for node in casts}) == len(casts)


def test_float16_agrees_with_float32_with_the_library_and_without(graphs):
    exact, model, window = graphs
    expected = run(exact, window, batch=2)
    found = run(model, window, batch=2)
    assert found.dtype == np.float32
    assert np.abs(found - expected).max() < 2e-2 * np.abs(expected).max()
    assert not np.array_equal(found, expected)
    bodies = run(model, window, batch=2, library=False)
    assert np.abs(bodies - found).max() < 2e-2 * np.abs(expected).max()


ROUNDER = onnxruntime.InferenceSession(
    onnx.parser.parse_model(
        """<ir_version: 10, opset_import: ["": 20, "msdk.rounding": 1]>
        rounder (float[n] x) => (float[n] half) { half = msdk.rounding.ToHalf (x) }"""
        + ROUNDING.replace("OPSET", "20")
    ).SerializeToString(),
    providers=["CPUExecutionProvider"],
)


@given(st.lists(st.floats(-65504, 65504, width=32), min_size=1, max_size=200))
@example([0.0, -0.0, 6.1e-5, 6.2e-5, 5.96e-8, 2.98e-8, 2.99e-8, 1e-12, 65504.0, 2048.9, 1.00048828125])
def test_simulated_rounding_is_that_of_float16(values):
    x = np.array(values, np.float32)
    (found,) = ROUNDER.run(None, {"x": x})
    expected = x.astype(np.float16).astype(np.float32)
    ties = np.abs(x.astype(np.float64) - expected) == np.abs(x.astype(np.float64) - found)
    assert ((found == expected) | ties).all()


def test_the_simulation_is_in_float32_and_rounds_more_than_onnx_runtime_does(graphs):
    exact, model, window = graphs
    simulation = simulated(model)
    onnx.checker.check_model(simulation)
    assert TensorProto.FLOAT16 not in {tensor.data_type for tensor in simulation.graph.initializer}
    expected = run(exact, window)
    by_simulation = np.abs(run(simulation, window) - expected).max()
    assert 0 < by_simulation < 2e-2 * np.abs(expected).max()


def test_half_the_weights_take_half_the_bytes(graphs):
    exact, model, _ = graphs

    def megabytes(proto):
        return sum(len(tensor.raw_data) for tensor in proto.graph.initializer)

    assert 0.5 * megabytes(exact) <= megabytes(model) < 0.9 * megabytes(exact)


def network(**changes):
    torch.manual_seed(7)
    made = MSDKMamba(KMAMBA).eval().requires_grad_(False)
    for name, change in changes.items():
        change(made.get_parameter(name.replace("__", ".")))
    return made


def test_an_exported_artifact_runs_and_says_what_float16_cost(tmp_path):
    manifest = export(
        network(), tmp_path / "m.onnx", window=(8, 12, 8), precision="fp16", sample=image((8, 12, 8))[0],
        **DESCRIPTION,
    )  # fmt: skip
    assert manifest.precision == "float16"
    assert manifest.parity["real"]["label_agreement"] >= 0.999
    assert 0 < manifest.parity["float16"]["largest_value"] < 65504
    assert manifest.parity["float16"]["layer"]
    with Segmenter(tmp_path / "m.onnx") as segmenter:
        labels = segmenter.run(image((9, 13, 11))[0])
    assert set(np.unique(labels)) <= {0, 2, 4}


def test_a_weight_beyond_float16_is_named():
    heavy = network(stem__weight=lambda weight: weight[0, 0, 0, 0, 0].fill_(7e4))
    with pytest.raises(ExportError, match=r"stem\.weight, a weight of stem, has 70000: .*fp32"):
        to_onnx(heavy, description((8, 12, 8)), "float16")


@pytest.mark.parametrize("role", ["base_weight", "spline_weight"])
def test_a_kan_weight_that_no_half_holds_is_named(role):
    """It stays float32 in the graph, but a GPU takes it as the sum of two halves."""
    inputs = KanCase(B=1, C=2, O=3, L=5, G=8, grid_min=-1.0, grid_max=1.0, seed=3).inputs()
    inputs[role].flat[1] = -70000
    weights = ("base_weight", "spline_weight")
    model = node_model("KanLinear", inputs, constants=weights, grid_min=-1.0, grid_max=1.0)
    with pytest.raises(ExportError, match=rf"{role}, a weight of .*, has 70000: .*fp32"):
        to_float16(model)


def test_a_layer_that_overflows_is_named_and_nothing_is_written(tmp_path):
    loud = network(stem__weight=lambda weight: weight.mul_(3e5))
    with pytest.raises(ExportError, match="what stem returns on the real window goes beyond"):
        export(loud, tmp_path / "m.onnx", window=(8, 12, 8), precision="fp16", **DESCRIPTION)
    assert list(tmp_path.iterdir()) == []


class Cancelling(nn.Module):
    """Adds what float16 cannot add to small numbers, and takes it away again."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv3d(2, 3, 1)
        self.lift = nn.Conv3d(3, 3, 1)
        self.last = nn.Conv3d(3, 3, 1)
        for layer in (self.lift, self.last):
            layer.weight.data = torch.eye(3)[:, :, None, None, None].clone()
        self.lift.bias.data.fill_(3e4)
        self.last.bias.data.fill_(-3e4)

    def forward(self, x):
        return self.last(self.lift(self.first(x)))


def test_below_the_limit_the_layer_that_did_it_is_named(tmp_path):
    torch.manual_seed(8)
    sample = image((4, 5, 6))[0]
    with pytest.raises(ExportError, match=r"label agreement 0\.\d+ .*fp32\. The layer .* hurts is last"):
        export(Cancelling(), tmp_path / "m.onnx", window=(4, 5, 6), precision="fp16", sample=sample,
               **DESCRIPTION)  # fmt: skip
    assert list(tmp_path.iterdir()) == []


def test_without_a_culprit_the_layer_most_off_is_named(graphs):
    exact, model, window = graphs
    words = worst_layer(exact, model, image(window), 1)
    layers = {layer_of(node) for node in model.graph.node}
    assert words.partition(" ")[0] in layers
    assert "(relative error " in words


def test_the_largest_value_is_the_largest(graphs):
    _, model, window = graphs
    found = check_range(model, image(window), 1)
    assert 0 < found["largest_value"] < 65504


def test_an_unknown_precision_is_refused(tmp_path):
    with pytest.raises(ExportError, match="precision must be fp32 or fp16, got 'int8'"):
        export(network(), tmp_path / "m.onnx", window=(8, 12, 8), precision="int8", **DESCRIPTION)
    assert msdk_export.onnx_export.PRECISIONS["fp16"] == "float16"

"""A graph cut at the msdk ops and put together again, as it was and in float16."""

import numpy as np
import onnx
import onnx.parser
import pytest

from msdk_export.graph.functions import attach_functions
from msdk_rt.backends.onnxruntime import open_session, run_session
from tests.support.around_ops import cut, rejoin

GRAPH = """<ir_version: 10, opset_import: ["": 20, "msdk": 1]>
odd ({T}[B,2,5] image{inputs}) => ({T}[B,3,5] logits{outputs})
<{T}[B,2,5] x, {T}[B,3,5] y, {T}[1] two = {{{two}}}, float[3,2] base = {{1,-1,0.5,2,0,1}},
 float[3,2,5] spline = {{{spline}}}>
{{
    x = Mul (image, two)
    {node}
    logits = Add (y, two)
}}"""
NODE = "y = msdk.KanLinear <grid_min: float = -1.0, grid_max: float = 1.0> (x, base, spline)"


def graph(**parts):
    spline = ", ".join(f"{value:.3f}" for value in np.sin(np.arange(30)))
    parts = {"T": "float", "two": "2", "inputs": "", "outputs": "", "node": NODE, "spline": spline} | parts
    return onnx.parser.parse_model(GRAPH.format(**parts))


@pytest.fixture
def run(tmp_path):
    def in_onnxruntime(model, image):
        path = tmp_path / "model.onnx"
        onnx.save(attach_functions(model), path)
        return run_session(open_session(path, ["CPUExecutionProvider"]), image)

    return in_onnxruntime


IMAGE = np.random.default_rng(4).standard_normal((3, 2, 5), np.float32)


def test_what_is_cut_and_rejoined_computes_the_same(run):
    model = graph()
    around = cut(model)
    assert [node.op_type for node in around.graph.node] == ["Mul", "Add"]
    assert [info.name for info in around.graph.input] == ["image", "y"]
    assert [info.name for info in around.graph.output] == ["logits", "x"]
    np.testing.assert_array_equal(run(rejoin(around, model), IMAGE), run(model, IMAGE))


def test_rejoined_in_float16_it_keeps_its_own_types(run):
    model = graph()
    two = np.float16(2).view(np.uint16)  # the parser takes float16 by its bits
    half = graph(T="float16", two=two, inputs=", float16[B,3,5] y", outputs=", float16[B,2,5] x", node="")
    joined = rejoin(cut(half), model)
    assert [node.op_type for node in joined.graph.node] == ["Cast", "Mul", "KanLinear", "Add", "Cast"]
    found, expected = run(joined, IMAGE), run(model, IMAGE)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=2e-2)
    inner = {info.name: info.type.tensor_type.elem_type for info in joined.graph.value_info}
    assert inner == dict.fromkeys(["x", "y", "image_half", "logits_half"], onnx.TensorProto.FLOAT16)


def test_a_graph_that_lacks_a_tensor_is_refused():
    model = graph()
    around = cut(model)
    del around.graph.node[0]
    with pytest.raises(ValueError, match="nothing makes an input of Add"):
        rejoin(around, model)

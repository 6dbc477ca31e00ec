"""TrilinearUpsample in ONNX Runtime against the float64 oracle, its body, and when a session has it."""

import re

import numpy as np
import pytest
from onnx import numpy_helper

from msdk_export.graph.functions import attach_functions
from tests.support import oracle
from tests.support.cases import UpsampleCase
from tests.support.grids import upsample_grid
from tests.support.nodes import node_model, session

CASES = upsample_grid(seed=7)
THREADS = (1, 2, 3)
SMALL = UpsampleCase(1, 3, (4, 5, 6), has_addend=True, seed=8)


def present(inputs):
    return {name: array for name, array in inputs.items() if array is not None}


def assert_close(actual, expected):
    assert actual.shape == expected.shape
    np.testing.assert_allclose(actual, expected, rtol=0, atol=2e-7 * np.abs(expected).max())


@pytest.mark.parametrize(("index", "case"), list(enumerate(CASES)))
def test_agrees_with_the_oracle(index, case):
    print(case)
    inputs = case.inputs()
    node = session(node_model("TrilinearUpsample", inputs), THREADS[index % len(THREADS)])
    actual = node.run(None, present(inputs))[0]
    assert_close(actual, oracle.trilinear_upsample(**inputs))
    np.testing.assert_array_equal(node.run(None, present(inputs))[0], actual, err_msg="a second run differs")


def test_an_addend_that_is_a_constant():
    inputs = SMALL.inputs()
    model = node_model("TrilinearUpsample", inputs)
    model.graph.initializer.append(numpy_helper.from_array(inputs["addend"], "addend"))
    del model.graph.input[1]
    actual = session(model).run(None, {"x": inputs["x"]})[0]
    assert_close(actual, oracle.trilinear_upsample(**inputs))


@pytest.mark.parametrize("case", CASES[::5], ids=str)
@pytest.mark.parametrize("library", [True, False])
def test_its_body_is_the_oracle_where_nobody_asked_for_cpu_ops(case, library):
    inputs = case.inputs()
    model = attach_functions(node_model("TrilinearUpsample", inputs))
    node = session(model, library=library, cpu_ops=False)
    assert_close(node.run(None, present(inputs))[0], oracle.trilinear_upsample(**inputs))


def test_a_session_without_cpu_ops_has_no_trilinear_upsample():
    with pytest.raises(Exception, match="TrilinearUpsample"):
        session(node_model("TrilinearUpsample", SMALL.inputs()), cpu_ops=False)


def test_a_voxel_that_is_not_finite_stays_near():
    x = np.zeros((1, 1, 9, 9, 40), np.float32)
    x[0, 0, 4, 4, 20] = np.nan
    y = session(node_model("TrilinearUpsample", {"x": x})).run(None, {"x": x})[0]
    planes, rows, columns = (set(axis) for axis in np.nonzero(np.isnan(y))[2:])
    assert planes == rows == {7, 8, 9, 10}
    assert columns == {39, 40, 41, 42}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x": (3, 4, 5, 6)}, "x: expected shape (any, any, any, any, any), got (3, 4, 5, 6)"),
        ({"x": (1, 3, 4, 0, 6)}, "x along height: expected 1 to 2147483647, got 0"),
        ({"addend": (1, 3, 8, 10, 6)}, "addend: expected shape (1, 3, 8, 10, 12), got (1, 3, 8, 10, 6)"),
        ({"addend": (1, 1, 8, 10, 12)}, "addend: expected shape (1, 3, 8, 10, 12), got (1, 1, 8, 10, 12)"),
    ],
)
def test_what_does_not_fit_is_named(changes, message):
    inputs = SMALL.inputs() | {name: np.zeros(shape, np.float32) for name, shape in changes.items()}
    with pytest.raises(Exception, match=re.escape(message)):
        session(node_model("TrilinearUpsample", inputs)).run(None, inputs)


@pytest.mark.parametrize("shape", [(0, 3, 4, 5, 6), (2, 0, 4, 5, 6)])
def test_no_channel_gives_none(shape):
    x = np.zeros(shape, np.float32)
    y = session(node_model("TrilinearUpsample", {"x": x})).run(None, {"x": x})[0]
    assert y.shape == (*shape[:2], 8, 10, 12)

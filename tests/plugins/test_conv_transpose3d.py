"""ConvTranspose3d in ONNX Runtime against the float64 oracle, its body, and when a session has it."""

import re

import numpy as np
import pytest

from msdk_export.graph.functions import attach_functions
from tests.support import oracle
from tests.support.cases import ConvTranspose3dCase
from tests.support.grids import conv_transpose3d_grid
from tests.support.nodes import node_model, session

CASES = conv_transpose3d_grid(seed=15)
THREADS = (1, 2, 3, 5)
BEYOND_CACHES = 6 << 20  # floats, kFloatsOfCaches of plugins/cpu/simd.h
SMALL = ConvTranspose3dCase(1, 3, 4, (5, 6, 7), (2, 2, 2), skip_channels=2, seed=16)


def present(inputs):
    return {name: array for name, array in inputs.items() if array is not None}


def fed(inputs):
    return {name: array for name, array in present(inputs).items() if name in ("x", "skip")}


def with_constants(case, inputs):
    """The case's node with its weight and bias as initialisers, as an exported model has them."""
    return node_model("ConvTranspose3d", inputs, constants=("weight", "bias"), **case.attributes)


def assert_close(actual, expected):
    assert actual.shape == expected.shape
    np.testing.assert_allclose(actual, expected, rtol=0, atol=2e-6 * max(1.0, np.abs(expected).max()))


@pytest.mark.parametrize(("index", "case"), list(enumerate(CASES)))
def test_agrees_with_the_oracle(index, case):
    print(case)
    inputs = case.inputs()
    node = session(with_constants(case, inputs), THREADS[index % len(THREADS)])
    actual = node.run(None, fed(inputs))[0]
    assert_close(actual, oracle.conv_transpose3d(**inputs, **case.attributes))
    np.testing.assert_array_equal(node.run(None, fed(inputs))[0], actual, err_msg="a second run differs")


@pytest.mark.parametrize("width", [64, 60, 63])
@pytest.mark.parametrize("strides", [(2, 2, 2), (1, 2, 1)])
def test_a_result_beyond_the_caches_is_bit_for_bit_its_parts(width, strides):
    """Of these widths the first is stored past the caches in whole vectors, the last is not."""
    width *= 2 // strides[2]
    case = ConvTranspose3dCase(3, 5, 7 * 2 // strides[0], (21, 25, width), strides, skip_channels=3, seed=17)
    inputs = case.inputs()
    whole = session(with_constants(case, inputs), 2).run(None, fed(inputs))[0]
    assert whole.size > BEYOND_CACHES > whole[0].size
    first = {name: inputs[name][:1] for name in ("x", "skip")}
    part = session(with_constants(case, inputs | first), 2)
    for image, skip, expected in zip(inputs["x"], inputs["skip"], whole, strict=True):
        np.testing.assert_array_equal(part.run(None, {"x": image[None], "skip": skip[None]})[0][0], expected)


@pytest.mark.parametrize("case", CASES[::9], ids=str)
def test_weights_that_are_no_constants(case):
    inputs = case.inputs()
    node = session(node_model("ConvTranspose3d", inputs, **case.attributes))
    for factor in (1, 2):
        feeds = present(inputs) | {"weight": factor * inputs["weight"]}
        expected = oracle.conv_transpose3d(**(inputs | {"weight": feeds["weight"]}), **case.attributes)
        assert_close(node.run(None, feeds)[0], expected)


@pytest.mark.parametrize("case", CASES[::11], ids=str)
@pytest.mark.parametrize("library", [True, False])
def test_its_body_is_the_oracle_where_nobody_asked_for_cpu_ops(case, library):
    inputs = case.inputs()
    model = attach_functions(with_constants(case, inputs))
    node = session(model, library=library, cpu_ops=False)
    assert_close(node.run(None, fed(inputs))[0], oracle.conv_transpose3d(**inputs, **case.attributes))


def test_a_session_without_cpu_ops_has_no_conv_transpose3d():
    with pytest.raises(Exception, match="ConvTranspose3d"):
        session(node_model("ConvTranspose3d", SMALL.inputs(), **SMALL.attributes), cpu_ops=False)


def test_a_voxel_that_is_not_finite_stays_in_its_block():
    inputs = SMALL.inputs() | {"skip": None}
    inputs["x"] = np.zeros((1, 3, 9, 9, 40), np.float32)
    inputs["x"][0, 0, 4, 4, 20] = np.nan
    y = session(node_model("ConvTranspose3d", inputs, **SMALL.attributes)).run(None, present(inputs))[0]
    planes, rows, columns = (set(axis) for axis in np.nonzero(np.isnan(y))[2:])
    assert planes == rows == {8, 9}
    assert columns == {40, 41}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x": (1, 2, 5, 6, 7)}, "x: expected shape (any, 3, any, any, any), got (1, 2, 5, 6, 7)"),
        ({"x": (3, 5, 6, 7)}, "x: expected shape (any, 3, any, any, any), got (3, 5, 6, 7)"),
        ({"x": (1, 3, 5, 0, 7)}, "x along height: expected 1 to 2147483647, got 0"),
        ({"weight": (3, 4, 2, 2)}, "weight: expected shape (any, any, any, any, any), got (3, 4, 2, 2)"),
        ({"weight": (3, 4, 2, 3, 2)}, "kernel along height: expected 1 to 2, got 3"),
        ({"weight": (3, 4, 2, 2, 1)}, "stride along width: expected the kernel's 1, got 2"),
        ({"strides": [1, 2, 2]}, "stride along depth: expected the kernel's 2, got 1"),
        ({"strides": [2, 2]}, "strides: expected 3 numbers, got 2"),
        ({"bias": (5,)}, "bias: expected shape (4), got (5)"),
        (
            {"skip": (1, 2, 10, 12, 13)},
            "skip: expected shape (1, any, 10, 12, 14), got (1, 2, 10, 12, 13)",
        ),
    ],
)
def test_what_does_not_fit_is_named(changes, message):
    inputs = SMALL.inputs() | {
        name: np.zeros(shape, np.float32) for name, shape in changes.items() if isinstance(shape, tuple)
    }
    attributes = SMALL.attributes | {
        name: value for name, value in changes.items() if isinstance(value, list)
    }
    with pytest.raises(Exception, match=re.escape(message)):
        session(node_model("ConvTranspose3d", inputs, **attributes)).run(None, inputs)


def test_no_batch_gives_none():
    inputs = SMALL.inputs()
    inputs |= {name: inputs[name][:0] for name in ("x", "skip")}
    y = session(node_model("ConvTranspose3d", inputs, **SMALL.attributes)).run(None, inputs)[0]
    assert y.shape == (0, 6, 10, 12, 14)

"""Conv3d in ONNX Runtime against the float64 oracle, its body, and when a session has it."""

import re

import numpy as np
import pytest

from msdk_export.graph.functions import attach_functions
from tests.support import oracle
from tests.support.cases import Conv3dCase
from tests.support.grids import conv3d_grid
from tests.support.nodes import node_model, session

CASES = conv3d_grid(seed=5)
THREADS = (1, 2, 3, 5)
BEYOND_CACHES = 6 << 20  # floats, kFloatsOfCaches of plugins/cpu/simd.h
SMALL = Conv3dCase(1, 3, 4, (5, 6, 7), (3, 3, 3), (1, 1, 1), (1,) * 6, 1, has_bias=True, seed=6)


def present(inputs):
    return {name: array for name, array in inputs.items() if array is not None}


def with_constants(case, inputs):
    """The case's node with its weight and bias as initialisers, as an exported model has them."""
    return node_model("Conv3d", inputs, constants=("weight", "bias"), **case.attributes)


def assert_close(actual, expected):
    """float32 sums of as many terms: transforms and taps in any order."""
    assert actual.shape == expected.shape
    np.testing.assert_allclose(actual, expected, rtol=0, atol=4e-6 * max(1.0, np.abs(expected).max()))


@pytest.mark.parametrize(("index", "case"), list(enumerate(CASES)))
def test_agrees_with_the_oracle(index, case):
    print(case)
    inputs = case.inputs()
    model = with_constants(case, inputs)
    node = session(model, THREADS[index % len(THREADS)])
    actual = node.run(None, {"x": inputs["x"]})[0]
    assert_close(actual, oracle.conv3d(**inputs, **case.attributes))
    np.testing.assert_array_equal(
        node.run(None, {"x": inputs["x"]})[0], actual, err_msg="a second run differs"
    )


@pytest.mark.parametrize("width", [128, 120, 125])
@pytest.mark.parametrize(("channels", "stride"), [(2, 1), (16, 1), (2, 2)])
def test_a_result_beyond_the_caches_is_bit_for_bit_its_parts(width, channels, stride):
    """Of these widths the first is stored past the caches in whole vectors, the last is not."""
    sides = 40, 50, stride * width
    case = Conv3dCase(3, channels, 9 * stride**2, sides, (3,) * 3, (stride,) * 3, (1,) * 6, 1, True, seed=7)
    inputs = case.inputs()
    whole = session(with_constants(case, inputs), 2).run(None, {"x": inputs["x"]})[0]
    assert whole.size > BEYOND_CACHES > whole[0].size
    part = session(with_constants(case, inputs | {"x": inputs["x"][:1]}), 2)
    for image, expected in zip(inputs["x"], whole, strict=True):
        np.testing.assert_array_equal(part.run(None, {"x": image[None]})[0][0], expected)


@pytest.mark.parametrize(("channels", "outputs"), [(64, 72), (7, 40), (260, 260)])
def test_few_voxels_of_many_channels_are_the_same_for_any_number_of_threads(channels, outputs):
    case = Conv3dCase(1, channels, outputs, (8, 9, 10), (3,) * 3, (1,) * 3, (1,) * 6, 1, True, seed=8)
    inputs = case.inputs()
    first, *others = (
        session(with_constants(case, inputs), threads).run(None, {"x": inputs["x"]})[0]
        for threads in (1, 2, 3, 8, 32)
    )
    assert_close(first, oracle.conv3d(**inputs, **case.attributes))
    for other in others:
        np.testing.assert_array_equal(other, first)


@pytest.mark.parametrize("case", CASES[::7], ids=str)
def test_weights_that_are_no_constants(case):
    inputs = case.inputs()
    node = session(node_model("Conv3d", inputs, **case.attributes))
    for factor in (1, 2):
        feeds = present(inputs) | {"weight": factor * inputs["weight"]}
        expected = oracle.conv3d(**(inputs | {"weight": feeds["weight"]}), **case.attributes)
        assert_close(node.run(None, feeds)[0], expected)


@pytest.mark.parametrize("case", CASES[::11], ids=str)
@pytest.mark.parametrize("library", [True, False])
def test_its_body_is_the_oracle_where_nobody_asked_for_cpu_ops(case, library):
    inputs = case.inputs()
    model = attach_functions(with_constants(case, inputs))
    node = session(model, library=library, cpu_ops=False)
    assert_close(node.run(None, {"x": inputs["x"]})[0], oracle.conv3d(**inputs, **case.attributes))


def test_a_session_without_cpu_ops_has_no_conv3d():
    with pytest.raises(Exception, match="Conv3d"):
        session(node_model("Conv3d", SMALL.inputs(), **SMALL.attributes), cpu_ops=False)


def test_a_voxel_that_is_not_finite_stays_near():
    inputs = SMALL.inputs()
    inputs["x"] = np.zeros((1, 3, 9, 9, 40), np.float32)
    inputs["x"][0, 0, 4, 4, 20] = np.nan
    y = session(node_model("Conv3d", inputs, **SMALL.attributes)).run(None, present(inputs))[0]
    planes, rows, columns = (set(axis) for axis in np.nonzero(np.isnan(y))[2:])
    assert planes | rows <= set(range(2, 8))
    assert columns == {19, 20, 21}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x": (1, 2, 5, 6, 7)}, "x: expected shape (any, 3, any, any, any), got (1, 2, 5, 6, 7)"),
        ({"x": (3, 5, 6, 7)}, "x: expected shape (any, 3, any, any, any), got (3, 5, 6, 7)"),
        ({"weight": (4, 3, 3, 3)}, "weight: expected shape (any, any, any, any, any), got (4, 3, 3, 3)"),
        ({"weight": (4, 3, 17, 3, 3)}, "kernel along depth: expected 1 to 16, got 17"),
        ({"bias": (5,)}, "bias: expected shape (4), got (5)"),
        ({"group": 3}, "group: expected a divisor of 4 output channels, got 3"),
        ({"group": 0}, "group: expected 1 to 4, got 0"),
        ({"strides": [1, 4, 1]}, "stride along height: expected 1 to 3, got 4"),
        ({"strides": [1, 1]}, "strides: expected 3 numbers, got 2"),
        ({"pads": [1, 1, 1, 1, 1, 3]}, "pad along width: expected 0 to 2, got 3"),
        ({"pads": [-1, 1, 1, 1, 1, 1]}, "pad along depth: expected 0 to 2, got -1"),
        (
            {"x": (1, 3, 5, 0, 7)},
            "x along height: expected at least the kernel's 3 voxels with its padding, got 2",
        ),
    ],
)
def test_what_does_not_fit_is_named(changes, message):
    inputs = SMALL.inputs() | {
        name: np.zeros(shape, np.float32) for name, shape in changes.items() if isinstance(shape, tuple)
    }
    attributes = SMALL.attributes | {
        name: value for name, value in changes.items() if isinstance(value, (int, list))
    }
    with pytest.raises(Exception, match=re.escape(message)):
        session(node_model("Conv3d", inputs, **attributes)).run(None, inputs)


def test_no_batch_gives_none():
    inputs = SMALL.inputs() | {"x": np.zeros((0, 3, 5, 6, 7), np.float32)}
    y = session(node_model("Conv3d", inputs, **SMALL.attributes)).run(None, inputs)[0]
    assert y.shape == (0, 4, 5, 6, 7)

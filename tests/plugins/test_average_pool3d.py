"""AveragePool3d in ONNX Runtime against the float64 oracle, its body, and when a session has it."""

import itertools
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from msdk_export.graph.functions import attach_functions
from tests.support.nodes import node_model, run_node, session

KERNELS = tuple(itertools.product((1, 2), repeat=3))
SIDES = ((2, 2, 2), (5, 4, 7), (3, 6, 33), (2, 3, 64), (7, 5, 131))
SMALL = np.zeros((1, 3, 4, 5, 6), np.float32)


def oracle(x, kernel):
    """Means of boxes, of x (B,C,D,H,W) in float64, without the voxels that no whole box has."""
    boxes = [side // edge for side, edge in zip(x.shape[2:], kernel, strict=True)]
    inside = (slice(count * edge) for count, edge in zip(boxes, kernel, strict=True))
    whole = x[(slice(None), slice(None), *inside)]
    apart = [number for pair in zip(boxes, kernel, strict=True) for number in pair]
    return whole.astype(np.float64).reshape(*x.shape[:2], *apart).mean((3, 5, 7))


def assert_close(actual, expected):
    assert actual.shape == expected.shape
    np.testing.assert_allclose(actual, expected, rtol=0, atol=3e-7 * np.abs(expected).max(initial=1e-30))


def normal(*shape, seed=6):
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("sides", SIDES)
def test_agrees_with_the_oracle_on_any_number_of_threads(sides, kernel):
    x = normal(2, 3, *sides)
    alone = run_node("AveragePool3d", {"x": x}, threads=1, kernel=kernel)
    assert_close(alone, oracle(x, kernel))
    for threads in (2, 3):
        np.testing.assert_array_equal(run_node("AveragePool3d", {"x": x}, threads, kernel=kernel), alone)


@settings(deadline=None, max_examples=60)
@given(
    st.tuples(st.integers(1, 2), st.integers(1, 5)),
    st.tuples(st.integers(2, 9), st.integers(2, 9), st.integers(2, 80)),
    st.sampled_from(KERNELS),
    st.integers(0, 2**31),
)
def test_any_shape_is_the_oracles(maps, sides, kernel, seed):
    x = normal(*maps, *sides, seed=seed)
    assert_close(run_node("AveragePool3d", {"x": x}, kernel=kernel), oracle(x, kernel))


def test_many_rows_are_the_oracles_on_any_number_of_threads():
    x = normal(1, 5, 41, 63, 67)
    alone = run_node("AveragePool3d", {"x": x}, threads=1, kernel=(2, 2, 2))
    assert_close(alone, oracle(x, (2, 2, 2)))
    np.testing.assert_array_equal(run_node("AveragePool3d", {"x": x}, threads=3, kernel=(2, 2, 2)), alone)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("library", [True, False])
def test_its_body_is_the_oracle_where_nobody_asked_for_cpu_ops(kernel, library):
    x = normal(2, 3, 5, 4, 17)
    model = attach_functions(node_model("AveragePool3d", {"x": x}, kernel=kernel))
    node = session(model, library=library, cpu_ops=False)
    assert_close(node.run(None, {"x": x})[0], oracle(x, kernel))


def test_a_session_without_cpu_ops_has_no_average_pool():
    with pytest.raises(Exception, match="AveragePool3d"):
        session(node_model("AveragePool3d", {"x": SMALL}, kernel=(2, 2, 2)), cpu_ops=False)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("width", [9, 40, 43])
@pytest.mark.parametrize("kernel", KERNELS)
def test_a_voxel_that_is_not_finite_stays_in_its_box(kernel, width, value):
    x = np.zeros((1, 2, 6, 7, width), np.float32)
    x[0, 1, 4, 3, 7] = value
    y = run_node("AveragePool3d", {"x": x}, kernel=kernel)
    box = [at // edge for at, edge in zip((4, 3, 7), kernel, strict=True)]
    assert np.argwhere(~np.isfinite(y)).tolist() == [[0, 1, *box]]
    assert y[(0, 1, *box)] == pytest.approx(value, nan_ok=True)


@pytest.mark.parametrize(
    ("shape", "kernel", "message"),
    [
        ((3, 4, 5, 6), (2, 2, 2), "x: expected shape (any, any, any, any, any), got (3, 4, 5, 6)"),
        ((1, 3, 4, 0, 6), (1, 1, 2), "x along height: expected 1 to 2147483647, got 0"),
        ((1, 3, 4, 1, 6), (2, 2, 2), "x along height: expected at least the kernel's 2 voxels, got 1"),
        ((1, 3, 1, 4, 6), (2, 1, 1), "x along depth: expected at least the kernel's 2 voxels, got 1"),
        ((0, 3, 4, 5, 1), (1, 1, 2), "x along width: expected at least the kernel's 2 voxels, got 1"),
        ((1, 3, 4, 5, 6), (2, 3, 2), "kernel along height: expected 1 to 2, got 3"),
        ((1, 3, 4, 5, 6), (0, 2, 2), "kernel along depth: expected 1 to 2, got 0"),
        ((1, 3, 4, 5, 6), (2, 2), "kernel: expected 3 numbers, got 2"),
    ],
)
def test_what_does_not_fit_is_named(shape, kernel, message):
    with pytest.raises(Exception, match=re.escape(message)):
        run_node("AveragePool3d", {"x": np.zeros(shape, np.float32)}, kernel=kernel)


def test_a_node_without_a_kernel_is_refused():
    with pytest.raises(Exception, match="kernel: expected 3 numbers, got none"):
        run_node("AveragePool3d", {"x": SMALL})


@pytest.mark.parametrize("shape", [(0, 3, 4, 5, 6), (2, 0, 4, 5, 6)])
def test_no_channel_gives_none(shape):
    y = run_node("AveragePool3d", {"x": np.zeros(shape, np.float32)}, kernel=(2, 1, 2))
    assert y.shape == (*shape[:2], 2, 5, 3)

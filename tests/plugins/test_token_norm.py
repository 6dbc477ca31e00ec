"""TokenNorm in ONNX Runtime against the float64 oracle."""

import re

import numpy as np
import pytest

from msdk_export.graph.functions import attach_functions
from tests.gpu import op_checks
from tests.support import emulated_ops, oracle
from tests.support.grids import token_norm_grid
from tests.support.nodes import node_model, run_node, session


def inputs_of(batch, channels, length, seed=3):
    """Tokens off zero, where a variance that is not taken about the mean would be lost."""
    rng = np.random.default_rng(seed)
    return {
        "x": 5 + rng.standard_normal((batch, channels, length), dtype=np.float32),
        "weight": rng.standard_normal(channels, dtype=np.float32),
        "bias": rng.standard_normal(channels, dtype=np.float32),
    }


@pytest.mark.parametrize("length", [1, 7, 16, 255, 256, 257, 1000])
@pytest.mark.parametrize(("batch", "channels"), [(1, 1), (2, 3), (1, 48), (3, 100)])
def test_agrees_with_the_oracle(batch, channels, length):
    inputs = inputs_of(batch, channels, length)
    expected = oracle.token_norm(**inputs, epsilon=1e-3)
    for threads in (1, 3):
        actual = run_node("TokenNorm", inputs, threads, epsilon=1e-3)
        np.testing.assert_allclose(actual, expected, rtol=0, atol=3e-5)


@pytest.mark.parametrize("library", [True, False])
def test_its_body_is_the_oracle_where_nobody_asked_for_cpu_ops(library):
    inputs = inputs_of(2, 5, 33)
    model = attach_functions(node_model("TokenNorm", inputs, epsilon=1e-3))
    actual = session(model, library=library, cpu_ops=False).run(None, inputs)[0]
    np.testing.assert_allclose(actual, oracle.token_norm(**inputs, epsilon=1e-3), rtol=0, atol=3e-5)


@pytest.fixture(scope="module")
def ops():
    return emulated_ops.build()


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("case", token_norm_grid(seed=1), ids=str)
def test_the_cuda_kernel_agrees_with_the_oracle(ops, case, dtype):
    """On the emulator, in any order of blocks and threads."""
    inputs = op_checks.rounded(case.inputs(), ("x",), dtype)
    for order in (0, 9):
        ops.order(order)
        actual = ops.token_norm(**inputs, epsilon=1e-3)
        op_checks.check_close(actual, oracle.token_norm(**inputs, epsilon=1e-3), 2e-6, case)


def test_half_nodes_run_their_body_or_the_float_kernel_on_a_cpu():
    inputs = op_checks.rounded(inputs_of(2, 5, 33), ("x",), np.float16)
    expected = oracle.token_norm(**inputs, epsilon=1e-3)
    model = attach_functions(node_model("TokenNorm", inputs, epsilon=1e-3))
    for options in ({}, {"cpu_ops": False}, {"library": False}):
        actual = session(model, **options).run(None, inputs)[0]
        assert actual.dtype == np.float16
        op_checks.check_close(actual, expected, 2e-6, options)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x": (1, 4, 9)}, "x: expected shape (any, 5, any), got (1, 4, 9)"),
        ({"bias": (4,)}, "bias: expected shape (5), got (4)"),
        ({"epsilon": 0.0}, "epsilon: expected a number above 0, got 0"),
    ],
)
def test_what_does_not_fit_is_named(changes, message):
    shapes = {name: shape for name, shape in changes.items() if name != "epsilon"}
    inputs = inputs_of(1, 5, 9) | {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    with pytest.raises(Exception, match=re.escape(message)):
        run_node("TokenNorm", inputs, epsilon=changes.get("epsilon", 1e-5))

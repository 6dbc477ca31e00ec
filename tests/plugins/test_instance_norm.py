"""InstanceNorm in ONNX Runtime against the float64 oracle: its sums are as good as exact."""

import re

import numpy as np
import onnx
import onnx.helper
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from msdk_export.graph.functions import attach_functions
from tests.gpu import op_checks
from tests.support import emulated_ops, oracle
from tests.support.grids import instance_norm_grid
from tests.support.nodes import node_model, run_node, session

ACTIVATIONS = ("none", "relu", "leaky_relu")


def inputs_of(shape, mean=0.0, added=False, seed=3):
    rng = np.random.default_rng(seed)
    return {
        "x": (mean + rng.standard_normal(shape)).astype(np.float32),
        "weight": rng.standard_normal(shape[1], dtype=np.float32),
        "bias": rng.standard_normal(shape[1], dtype=np.float32),
        "addend": rng.standard_normal(shape, dtype=np.float32) if added else None,
    }


def error_of(actual, expected):
    """Largest difference over the largest value."""
    return np.abs(actual - expected).max() / np.abs(expected).max()


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_agrees_with_the_oracle(data):
    sides = data.draw(st.lists(st.integers(1, 19), min_size=1, max_size=3))
    shape = (data.draw(st.integers(1, 3)), data.draw(st.integers(1, 5)), *sides)
    inputs = inputs_of(shape, data.draw(st.sampled_from([0.0, -3.0, 1000.0])), data.draw(st.booleans()))
    attributes = {
        "epsilon": data.draw(st.sampled_from([1e-5, 1e-3])),
        "activation": data.draw(st.sampled_from(ACTIVATIONS)),
        "slope": data.draw(st.sampled_from([0.01, 0.25])),
    }
    expected = oracle.instance_norm(**inputs, **attributes)
    for threads in (1, 3):
        actual = run_node("InstanceNorm", inputs, threads, **attributes)
        np.testing.assert_allclose(actual, expected, rtol=2e-6, atol=4e-6)


@pytest.fixture(scope="module")
def ops():
    return emulated_ops.build()


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("case", instance_norm_grid(seed=1), ids=str)
def test_the_cuda_kernel_agrees_with_the_oracle(ops, case, dtype):
    """On the emulator, in any order of blocks and threads."""
    inputs = op_checks.rounded(case.inputs(), ("x", "addend"), dtype)
    expected = oracle.instance_norm(**inputs, **case.attributes)
    for order in (0, 9):
        ops.order(order)
        op_checks.check_close(ops.instance_norm(**inputs, **case.attributes), expected, 2e-6, case)


@pytest.mark.parametrize("mean", [0.0, 3.0, 10.0, 1000.0])
@pytest.mark.parametrize("sides", [(64, 64, 64), (65536,), (65537,), (131, 67, 33)])
def test_sums_are_as_good_as_exact(sides, mean):
    """Of channels in one chunk, in one and a bit, in many, whatever the mean."""
    inputs = inputs_of((1, 2, *sides), mean)
    expected = oracle.instance_norm(**inputs)
    assert error_of(run_node("InstanceNorm", inputs, 2, activation="none"), expected) < 4e-7


def test_half_of_the_voxels_are_background():
    """The case in which ONNX Runtime's own sums are off by 1e-5 at 128^3."""
    inputs = inputs_of((1, 1, 128, 128, 128), 10.0)
    inputs["x"][:, :, :64] = 0
    expected = oracle.instance_norm(**inputs)
    assert error_of(run_node("InstanceNorm", inputs, 2, activation="none"), expected) < 4e-7


def test_any_number_of_threads_gives_the_same_bits():
    inputs = inputs_of((2, 3, 45, 51, 38), 5.0, added=True)
    first, *others = (run_node("InstanceNorm", inputs, threads, activation="relu") for threads in (1, 2, 5))
    for other in others:
        np.testing.assert_array_equal(first, other)


@pytest.mark.parametrize("read_again", [False, True])
@pytest.mark.parametrize("sides", [(9, 7, 3), (45, 51, 38)])
def test_its_output_may_lie_where_its_input_was(sides, read_again):
    """Between two other nodes, ONNX Runtime lets it write over x, but for one that is read again."""
    inputs = inputs_of((2, 3, *sides), 5.0)
    model = node_model("InstanceNorm", inputs, constants=("weight", "bias"), activation="leaky_relu")
    (norm,) = model.graph.node
    norm.input[0], norm.output[0] = "doubled", "normalised"
    doubled = onnx.helper.make_node("Add", ["x", "x"], ["doubled"])
    after = onnx.helper.make_node("Add", ["normalised", "doubled" if read_again else "normalised"], ["y"])
    del model.graph.node[:]
    model.graph.node.extend([doubled, norm, after])
    shape = inputs["x"].shape
    model.graph.value_info.append(
        onnx.helper.make_tensor_value_info("normalised", onnx.TensorProto.FLOAT, shape)
    )
    x = 2 * inputs["x"]
    normalised = oracle.instance_norm(**(inputs | {"x": x}), activation="leaky_relu")
    actual = session(model).run(None, {"x": inputs["x"]})[0]
    expected = normalised + (x if read_again else normalised)
    np.testing.assert_allclose(actual, expected, rtol=2e-6, atol=2e-5)


def test_a_channel_of_one_value_becomes_its_bias():
    inputs = inputs_of((1, 3, 7, 9), added=False)
    inputs["x"][:] = 1e7
    actual = run_node("InstanceNorm", inputs, 1, activation="none")
    np.testing.assert_array_equal(actual, np.broadcast_to(inputs["bias"][:, None, None], (1, 3, 7, 9)))


def test_nan_stays_in_its_channel():
    inputs = inputs_of((1, 2, 70000))
    inputs["x"][0, 1, 69999] = np.nan
    actual = run_node("InstanceNorm", inputs, 2, activation="none")
    assert np.isnan(actual[0, 1]).all()
    assert np.isfinite(actual[0, 0]).all()


@pytest.mark.parametrize("library", [True, False])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("added", [True, False])
def test_its_body_is_the_oracle_where_nobody_asked_for_cpu_ops(library, activation, added):
    inputs = inputs_of((2, 3, 4, 5, 6), 1.0, added)
    attributes = {"epsilon": 1e-3, "activation": activation, "slope": 0.125}
    model = attach_functions(node_model("InstanceNorm", inputs, **attributes))
    fed = {name: array for name, array in inputs.items() if array is not None}
    actual = session(model, library=library, cpu_ops=False).run(None, fed)[0]
    np.testing.assert_allclose(actual, oracle.instance_norm(**inputs, **attributes), rtol=0, atol=3e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x": (1, 5)}, "x: expected at least 3 axes, got 2"),
        ({"weight": (4,)}, "weight: expected shape (5), got (4)"),
        ({"bias": (5, 1)}, "bias: expected shape (5), got (5, 1)"),
        ({"addend": (1, 5, 8)}, "addend: expected shape (1, 5, 9), got (1, 5, 8)"),
        ({"epsilon": -1.0}, "epsilon: expected a number of at least 0, got -1"),
        ({"activation": "gelu"}, "activation: expected none, relu or leaky_relu, got 'gelu'"),
    ],
)
def test_what_does_not_fit_is_named(changes, message):
    attributes = {"epsilon": 1e-5, "activation": "none"}
    attributes |= {name: value for name, value in changes.items() if name in attributes}
    shapes = {name: shape for name, shape in changes.items() if name not in attributes}
    inputs = inputs_of((1, 5, 9)) | {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    with pytest.raises(Exception, match=re.escape(message)):
        run_node("InstanceNorm", inputs, **attributes)

"""Numbers at the edge of their types: denormals, the largest float16, the largest float32."""

import numpy as np
import pytest

from tests.support import emulated_ops, oracle
from tests.support.cases import ConvCase, KanCase, ScanCase
from tests.support.nodes import node_model, run_node, session

SCAN = ScanCase(B=1, K=2, D=5, L=200, N=8, R=2, directions="forward,backward", has_z=True, scale=1.0, seed=11,
                extreme=False)  # fmt: skip
CONV = ConvCase(B=1, K=2, D=3, L=41, W=4, directions="forward,backward", seed=12)
KAN = KanCase(B=1, C=3, O=5, L=41, G=8, grid_min=-1.0, grid_max=1.0, seed=13)
OPS = {
    "BidirectionalSelectiveScan": (SCAN, oracle.bidirectional_selective_scan, ("u", "z")),
    "DirectionalConv1d": (CONV, oracle.directional_conv1d, ("x",)),
    "KanLinear": (KAN, oracle.kan_linear, ("x",)),
}
HOMES = ("cpu", "cuda, emulated")
HALF_MAX = 65504.0


def attributes_of(op):
    return {} if op == "KanLinear" else {"directions": OPS[op][0].directions}


def run(op, home, inputs):
    if home == "cpu":
        return run_node(op, inputs, **attributes_of(op))
    return getattr(emulated_ops.build(), OPS[op][1].__name__)(**inputs, **attributes_of(op))


def expected_of(op, inputs):
    with np.errstate(all="ignore"):
        return OPS[op][1](**inputs, **attributes_of(op))


@pytest.mark.parametrize("home", HOMES)
@pytest.mark.parametrize("unit", [1e-37, 1e-40, 1e-45])
def test_denormal_inputs_of_a_scan(home, unit):
    """y is as small as u: to the last digit that a denormal has."""
    inputs = SCAN.inputs()
    inputs["u"] *= np.float32(unit)
    expected = expected_of("BidirectionalSelectiveScan", inputs)
    actual = run("BidirectionalSelectiveScan", home, inputs)
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=100 * 2.0**-149)


@pytest.mark.parametrize("op", OPS)
def test_a_session_that_flushes_denormals(op):
    """Users set this against slow denormals: it drops only numbers below float32's normal ones."""
    inputs = {name: array * np.float32(1e-38) if name in OPS[op][2] else array
              for name, array in OPS[op][0].inputs().items()}  # fmt: skip
    node = session(node_model(op, inputs, **attributes_of(op)), set_denormal_as_zero="1")
    actual, expected = node.run(None, inputs)[0], expected_of(op, inputs)
    assert not np.any((actual != 0) & (np.abs(actual) < 2.0**-126))
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-36)


@pytest.mark.parametrize("home", HOMES)
@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("signs", ["random", "positive", "negative"])
def test_the_largest_float16(op, home, signs):
    """x, u and z are +-65504: no NaN, infinite where float16 ends, and right everywhere else."""
    rng = np.random.default_rng(14)
    inputs = OPS[op][0].inputs()
    if op == "BidirectionalSelectiveScan":
        inputs["x_dbl"] = inputs["x_dbl"].astype(np.float16)
    for name in OPS[op][2]:
        sign = {"random": rng.choice([-1, 1], inputs[name].shape), "positive": 1, "negative": -1}[signs]
        inputs[name] = np.full(inputs[name].shape, HALF_MAX * sign, np.float16)
    expected, actual = expected_of(op, inputs), run(op, home, inputs).astype(np.float64)
    assert actual.shape == expected.shape
    assert not np.isnan(actual).any()
    beyond, clearly_inside = np.abs(expected) > 66_000, np.abs(expected) < 65_000
    np.testing.assert_array_equal(actual[beyond], np.sign(expected[beyond]) * np.inf)
    atol = 1e-3 * np.max(np.abs(expected), where=clearly_inside, initial=1)  # sums of both signs cancel
    np.testing.assert_allclose(actual[clearly_inside], expected[clearly_inside], rtol=1e-3, atol=atol)


@pytest.mark.parametrize("home", HOMES)
@pytest.mark.parametrize("op", ["DirectionalConv1d", "KanLinear"])
@pytest.mark.parametrize("value", [1e37, -1e37])
def test_large_float32(op, home, value):
    """As large as sums of them can be; the CPU's SiLU(-1e37) was once -0.06."""
    inputs = OPS[op][0].inputs()
    inputs["x"][...] = value
    expected = expected_of(op, inputs)
    np.testing.assert_allclose(
        run(op, home, inputs), expected, rtol=1e-5, atol=1e-30 + 1e-6 * np.abs(expected).max()
    )

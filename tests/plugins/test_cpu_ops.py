"""The ONNX Runtime CPU ops against the float64 oracle, on the grid of the op contract."""

import os
import platform
import re
import subprocess
import sys

import numpy as np
import pytest

import msdk_rt
from tests.release.contents import best_kernels, kernels_of
from tests.support import oracle
from tests.support.cases import ScanCase
from tests.support.grids import conv_grid, kan_grid, scan_grid
from tests.support.nodes import node_model, run_node, session

SCAN_CASES = scan_grid(max_updates=50_000_000, seed=1)
THREADS = (1, 2, 3, 5)


def relative_l2(actual, expected):
    return np.linalg.norm(actual - expected) / max(np.linalg.norm(expected), 1e-30)


def run_scan(case, threads):
    return run_node(
        "BidirectionalSelectiveScan", case.inputs(), threads, directions=case.directions, scale=case.scale
    )


@pytest.mark.parametrize(("index", "case"), list(enumerate(SCAN_CASES)))
def test_scan_agrees_with_the_oracle(index, case):
    print(case)
    inputs, threads = case.inputs(), THREADS[index % len(THREADS)]
    node = session(
        node_model("BidirectionalSelectiveScan", inputs, directions=case.directions, scale=case.scale),
        threads,
    )
    feeds = {name: array for name, array in inputs.items() if array is not None}
    actual = node.run(None, feeds)[0]
    expected = oracle.bidirectional_selective_scan(**inputs, directions=case.directions, scale=case.scale)
    assert relative_l2(actual, expected) <= 2e-6
    # Extreme inputs make y as large as 1e5, where a float32 cannot tell 2e-3: there it scales with y.
    atol = 2e-3 * max(1.0, np.sqrt(np.mean(expected**2)))
    np.testing.assert_allclose(actual, expected, rtol=6e-4, atol=atol)
    np.testing.assert_array_equal(node.run(None, feeds)[0], actual, err_msg="a second run differs")


@pytest.mark.parametrize("case", conv_grid(seed=1), ids=str)
def test_conv_agrees_with_the_oracle(case):
    inputs = case.inputs()
    actual = run_node("DirectionalConv1d", inputs, directions=case.directions)
    expected = oracle.directional_conv1d(**inputs, directions=case.directions)
    assert relative_l2(actual, expected) <= 1e-6


@pytest.mark.parametrize("case", kan_grid(seed=1), ids=str)
def test_kan_agrees_with_the_oracle(case):
    inputs, grid = case.inputs(), {"grid_min": case.grid_min, "grid_max": case.grid_max}
    actual = run_node("KanLinear", inputs, **grid)
    assert relative_l2(actual, oracle.kan_linear(**inputs, **grid)) <= 2e-6


SMALL = ScanCase(B=1, K=2, D=3, L=12, N=4, R=2, directions="forward,backward", has_z=True, scale=1.0, seed=5,
                 extreme=False)  # fmt: skip


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
def test_the_number_of_threads_does_not_change_a_result(threads):
    case = ScanCase(B=1, K=2, D=40, L=1000, N=16, R=3, directions="forward,backward", has_z=True, scale=1.0,
                    seed=3, extreme=False)  # fmt: skip
    np.testing.assert_array_equal(run_scan(case, threads), run_scan(case, 1))


def test_attributes_default_to_forward_backward_and_one():
    inputs = SMALL.inputs()
    expected = oracle.bidirectional_selective_scan(**inputs, directions="forward,backward")
    np.testing.assert_allclose(run_node("BidirectionalSelectiveScan", inputs), expected, rtol=1e-5, atol=1e-5)


def test_attributes_of_other_homes_are_accepted():
    inputs = SMALL.inputs()
    plain = run_node("BidirectionalSelectiveScan", inputs)
    marked = run_node("BidirectionalSelectiveScan", inputs, plugin_version="1", plugin_namespace="msdk")
    np.testing.assert_array_equal(plain, marked)


def test_nan_in_u_reaches_y():
    inputs = SMALL.inputs()
    inputs["u"][0, 0, 1, 4] = np.nan
    y = run_node("BidirectionalSelectiveScan", inputs)
    assert np.isnan(y[0, 1, 4:]).all()
    assert np.isfinite(y[0, [0, 2]]).all()


def with_shape(name, shape):
    return {**SMALL.inputs(), name: np.ones(shape, np.float32)}


NINE_DIRECTIONS = ",".join(["forward"] * 9)


@pytest.mark.parametrize(
    ("inputs", "attributes", "message"),
    [
        (with_shape("u", (1, 3, 3, 12)), {}, "u: expected shape (any, 2, any, any), got (1, 3, 3, 12)"),
        (with_shape("x_dbl", (1, 2, 9, 12)), {}, "x_dbl: expected shape (1, 2, 10, 12), got (1, 2, 9, 12)"),
        (with_shape("dt_weight", (2, 4, 2)), {}, "dt_weight: expected shape (2, 3, any), got (2, 4, 2)"),
        (with_shape("D_skip", (2, 3, 1)), {}, "D_skip: expected shape (2, 3), got (2, 3, 1)"),
        (with_shape("z", (1, 3, 11)), {}, "z: expected shape (1, 3, 12), got (1, 3, 11)"),
        (with_shape("A", (2, 3, 65)), {}, "states of A: expected 1 to 64, got 65"),
        (with_shape("A", (2, 3, 4)), {}, "A: expected -exp(A_log), at most 0, got 1"),
        (SMALL.inputs(), {"directions": "forward,left"}, "slices:S:backward with S >= 1, got 'left'"),
        (SMALL.inputs(), {"directions": "forward,slices:5"}, "slices:5 must divide the number of tokens"),
        (SMALL.inputs(), {"directions": NINE_DIRECTIONS}, "at most 8 directions"),
    ],
)
def test_what_does_not_fit_is_named(inputs, attributes, message):
    with pytest.raises(Exception, match=re.escape(message)):
        run_node("BidirectionalSelectiveScan", inputs, **attributes)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="other processors have one kernel set")
def test_the_fastest_kernel_set_is_taken():
    assert kernels_of(msdk_rt.ops_library()) == os.environ.get("MSDK_RT_CPU_KERNELS", best_kernels())


@pytest.mark.parametrize("kernels", ["avx2", "baseline"])
def test_a_kernel_set_can_be_asked_for(kernels, tmp_path):
    """The environment is read once a process, so another one runs the op and must agree."""
    script = (
        "import sys, numpy as np; from tests.plugins.test_cpu_ops import SMALL, run_scan; "
        "np.save(sys.argv[1], run_scan(SMALL, 1))"
    )
    environment = {**os.environ, "MSDK_RT_CPU_KERNELS": kernels}
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "y.npy")], env=environment, check=True)
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), run_scan(SMALL, 1), rtol=1e-5, atol=1e-6)

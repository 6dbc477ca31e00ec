"""The CUDA kernels, run by the emulator, against the float64 oracle on the grid of the op contract."""

import re
from pathlib import Path

import numpy as np
import pytest

from tests.support import emulated_ops, oracle
from tests.support.cases import ScanCase
from tests.support.grids import conv_grid, kan_grid, scan_grid

SCAN_CASES = scan_grid(max_updates=200_000, seed=1)
CONV_CASES = [case for case in conv_grid(seed=1) if case.B * case.K * case.D * case.L <= 400_000]
KAN_CASES = [case for case in kan_grid(seed=1) if case.B * case.C * case.O * case.L * case.G <= 4_000_000]
DTYPES = (np.float32, np.float16)


@pytest.fixture(scope="session")
def ops():
    return emulated_ops.build()


def relative_l2(actual, expected):
    return np.linalg.norm(actual - expected) / max(np.linalg.norm(expected), 1e-30)


def rounded(inputs, names, dtype):
    """The inputs of type T in `dtype`; the parameters stay float32."""
    return {
        name: array.astype(dtype) if name in names and array is not None else array
        for name, array in inputs.items()
    }


def assert_twice(run, ops, seed):
    """The result in launch order, which must be the same bit for bit again and with blocks shuffled."""
    ops.order(0)
    first = run()
    ops.order(seed)
    np.testing.assert_array_equal(run(), first, err_msg="a shuffled run differs")
    ops.order(0)
    return first.astype(np.float64)


def assert_close_in_float16(actual, expected):
    # Where y is large, so is what rounding the terms of its sum costs.
    atol = 5e-3 * max(1.0, np.sqrt(np.mean(expected**2)))
    np.testing.assert_allclose(actual, expected, rtol=3e-3, atol=atol)


def check_scan(ops, case, dtype, seed=7):
    print(case)
    inputs = rounded(case.inputs(), ("u", "x_dbl", "z"), dtype)
    attributes = {"directions": case.directions, "scale": case.scale}
    actual = assert_twice(lambda: ops.bidirectional_selective_scan(**inputs, **attributes), ops, seed)
    expected = oracle.bidirectional_selective_scan(**inputs, **attributes)
    if dtype == np.float16:
        beyond = np.abs(expected) > 65000
        assert np.isinf(actual[np.abs(expected) > 66000]).all()
        assert_close_in_float16(actual[~beyond], expected[~beyond])
        return
    assert relative_l2(actual, expected) <= 2e-6
    atol = 2e-3 * max(1.0, np.sqrt(np.mean(expected**2)))
    np.testing.assert_allclose(actual, expected, rtol=6e-4, atol=atol)


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("index", range(len(SCAN_CASES)))
def test_scan_agrees_with_the_oracle(ops, index, dtype):
    check_scan(ops, SCAN_CASES[index], dtype, seed=index + 1)


def scan_case(**changed):
    case = {"B": 1, "K": 2, "D": 3, "L": 200, "N": 16, "R": 3, "directions": "forward,backward"}
    case |= {"has_z": True, "scale": 0.5, "seed": 11, "extreme": False}
    return ScanCase(**{**case, **changed})


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize(
    "case",
    [
        scan_case(),
        scan_case(R=70),  # more rows of dt than are staged
        scan_case(L=33, D=33, N=32),
        scan_case(L=32 * 9 + 1, N=8, directions="backward,forward"),
        scan_case(B=130, K=4, D=1, L=257, N=1, directions="forward,slices:257:backward,slices:257,backward"),
        scan_case(
            B=52, K=8, D=1, L=520, N=3, directions=",".join(["forward", "slices:13"] * 4)
        ),  # chunks of 128
        # neighbouring tokens
        scan_case(D=70, R=6),  # three warps
        scan_case(L=104, D=33, N=48, R=8, directions="backward,forward", has_z=False),
        scan_case(D=40, R=6, K=3, directions="backward,slices:5,forward"),
        scan_case(B=128, K=8, D=1, L=208, R=1, directions=",".join(["backward", "forward"] * 4)),
    ],
    ids=str,
)
def test_scan_where_its_plan_turns(ops, case, dtype):
    check_scan(ops, case, dtype)


def test_nan_in_u_reaches_y(ops):
    inputs = scan_case(L=100, directions="forward", K=1).inputs()
    inputs["u"][0, 0, 1, 4] = np.nan
    y = ops.bidirectional_selective_scan(**inputs, directions="forward")
    assert np.isnan(y[0, 1, 4:]).all()
    assert np.isfinite(y[0, 1, :4]).all()
    assert np.isfinite(y[0, [0, 2]]).all()


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("case", CONV_CASES, ids=str)
def test_conv_agrees_with_the_oracle(ops, case, dtype):
    inputs = rounded(case.inputs(), ("x",), dtype)
    actual = assert_twice(lambda: ops.directional_conv1d(**inputs, directions=case.directions), ops, 5)
    expected = oracle.directional_conv1d(**inputs, directions=case.directions)
    if dtype == np.float16:
        assert_close_in_float16(actual, expected)
    else:
        assert relative_l2(actual, expected) <= 1e-6


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("case", KAN_CASES, ids=str)
def test_kan_agrees_with_the_oracle(ops, case, dtype):
    inputs, grid = case.inputs(), {"grid_min": case.grid_min, "grid_max": case.grid_max}
    inputs = rounded(inputs, ("x",), dtype)
    actual = assert_twice(lambda: ops.kan_linear(**inputs, **grid), ops, 6)
    expected = oracle.kan_linear(**inputs, **grid)
    if dtype == np.float16:
        assert_close_in_float16(actual, expected)
    else:
        assert relative_l2(actual, expected) <= 2e-6


def test_what_a_kernel_cannot_do_is_refused(ops):
    inputs = {name: np.zeros(shape, np.float32) for name, shape in
              {"x": (1, 2, 5), "base_weight": (3, 2), "spline_weight": (3, 2, 65)}.items()}  # fmt: skip
    with pytest.raises(ValueError, match="bases must be 4 to 64"):
        ops.kan_linear(**inputs)
    with pytest.raises(ValueError, match="width must be 1 to 16"):
        ops.directional_conv1d(
            inputs["x"], np.zeros((1, 2, 17), np.float32), np.zeros((1, 2), np.float32), "forward"
        )


PLANTED_BUGS = {
    "missing barrier": (
        "walk.stage(first);\n        __syncwarp();",
        "walk.stage(first);",
    ),
    "off by one at a chunk's edge": (
        "first + i < end && first + i < chunks - 1",
        "first + i < end && first + i < chunks - 2",
    ),
    "a sum that starts from whatever the stack holds": (
        "float A2[kStates], h[kStates] = {}, sum = 0.0f;",
        "float A2[kStates], h[kStates] = {}, sum;",
    ),
    "unwritten tail": (
        "for (int step = lane; step < chunk.count; step += kWarp)",
        "for (int step = lane; step + 1 < chunk.count; step += kWarp)",
    ),
}
BUGS_OF_NEIGHBOURS = {
    "missing barrier between warps": (
        "if (first + kStepsOfTile < chunk.count) walk.fetch(first + kStepsOfTile);\n      __syncthreads();",
        "if (first + kStepsOfTile < chunk.count) walk.fetch(first + kStepsOfTile);\n      __syncwarp();",
    ),
    "one tile instead of two": ("tiles.tile[turn];\n    walk.put", "tiles.tile[0];\n    walk.put"),
    "backward tokens in the order of forward ones": (
        "reverse_if<kCount>(walk.backward(), y);",
        "",
    ),
    "u of the step before": ("fetch_u(step + kCount)", "fetch_u(step)"),
    "a chunk that does not start from its carry": (
        "if (walk.real() && !from_zero)",
        "if (walk.real() && from_zero)",
    ),
}


def whole_source(op):
    """An op's cuda.cu with its own headers written out in it."""
    text = (emulated_ops.PLUGINS / "ops" / op / "cuda.cu").read_text()
    include = re.compile(rf'#include "(ops/{op}/cuda_\w+\.cuh)"\n')
    written = set()
    while found := include.search(text):
        header = (emulated_ops.PLUGINS / found[1]).read_text().replace("#pragma once\n", "")
        text = text.replace(found[0], "" if found[1] in written else header, 1)
        written.add(found[1])
    return text


def assert_caught(right, wrong, case, tmp_path):
    source = whole_source("selective_scan")
    assert source.count(right) == 1, "the planted bug's place is gone: plant it again"
    (tmp_path / "cuda.cu").write_text(source.replace(right, wrong))
    broken = emulated_ops.build(tmp_path / "build", {"selective_scan": tmp_path / "cuda.cu"})
    with pytest.raises(AssertionError):
        check_scan(broken, case, np.float32)


@pytest.mark.parametrize("bug", PLANTED_BUGS)
def test_a_planted_bug_is_caught(bug, tmp_path: Path):
    assert_caught(*PLANTED_BUGS[bug], scan_case(L=201), tmp_path)


@pytest.mark.parametrize("bug", BUGS_OF_NEIGHBOURS)
def test_a_bug_planted_in_the_scan_of_neighbours_is_caught(bug, tmp_path: Path):
    assert_caught(*BUGS_OF_NEIGHBOURS[bug], scan_case(D=70), tmp_path)

"""The oracle itself, against arithmetic done by hand and against libraries nobody here wrote."""

import itertools

import numpy as np
import pytest
from scipy.interpolate import BSpline

from tests.support import cases, grids, oracle


@pytest.mark.parametrize(
    ("direction", "order"),
    [
        ("forward", [0, 1, 2, 3, 4, 5]),
        ("backward", [5, 4, 3, 2, 1, 0]),
        ("slices:1", [0, 1, 2, 3, 4, 5]),
        ("slices:2", [0, 3, 1, 4, 2, 5]),
        ("slices:3:backward", [5, 3, 1, 4, 2, 0]),
        ("slices:6", [0, 1, 2, 3, 4, 5]),
    ],
)
def test_permutation_by_hand(direction, order):
    (parsed,) = oracle.parse_directions(direction)
    assert oracle.permutation(parsed, 6).tolist() == order


def test_scan_of_two_tokens_by_hand():
    u, decay_rate, skip, z = np.array([3.0, -2.0]), -0.5, 0.25, np.array([1.0, -1.0])
    dt, B, C = np.array([0.2, 0.4]), np.array([1.5, 0.5]), np.array([2.0, -1.0])
    delta = np.log1p(np.exp(0.7 * dt + 0.1))
    h0 = delta[0] * B[0] * u[0]
    h1 = np.exp(delta[1] * decay_rate) * h0 + delta[1] * B[1] * u[1]
    expected = 0.5 * z / (1 + np.exp(-z)) * (C * [h0, h1] + skip * u)

    y = oracle.bidirectional_selective_scan(
        u.reshape(1, 1, 1, 2),
        np.stack([dt, B, C]).reshape(1, 1, 3, 2),
        [[[0.7]]],
        [[0.1]],
        [[[decay_rate]]],
        [[skip]],
        z.reshape(1, 1, 2),
        "forward",
        0.5,
    )
    np.testing.assert_allclose(y[0, 0], expected, rtol=1e-14)


def test_backward_scan_is_the_forward_scan_of_reversed_tokens():
    case = cases.ScanCase(
        B=2, K=1, D=3, L=17, N=5, R=2, directions="backward", has_z=True, scale=1.0, seed=5, extreme=False
    )
    tensors = case.inputs()
    backward = oracle.bidirectional_selective_scan(**tensors, directions="backward")
    for name in ("u", "x_dbl", "z"):
        tensors[name] = tensors[name][..., ::-1]
    forward = oracle.bidirectional_selective_scan(**tensors, directions="forward")
    np.testing.assert_array_equal(backward, forward[..., ::-1])


def test_bases_are_scipys_cubic_b_splines():
    low, high, bases = -0.5, 2.0, 8
    h = (high - low) / (bases - 3)
    knots = low + (np.arange(bases + 4) - 3) * h
    x = np.linspace(knots[0], knots[-1], 400, endpoint=False)
    expected = BSpline.design_matrix(x, knots, 3, extrapolate=True).toarray()[:, :bases]
    inside = (x >= low) & (x < high)
    np.testing.assert_allclose(
        oracle.bspline_bases(x, low, high, bases)[inside], expected[inside], atol=1e-14
    )
    outside = np.array([knots[0] - 1e-9, knots[-1] + 1e-9])
    assert not oracle.bspline_bases(outside, low, high, bases).any()


def test_scan_grid_pairs_every_value_with_every_other():
    grid = grids.scan_grid(max_updates=10**12, seed=3)
    kinds = {c: (c.L, c.N, c.D, c.R, c.K, c.has_z, c.extreme) for c in grid}
    axes = [
        grids.LENGTHS,
        grids.STATES,
        grids.CHANNELS,
        grids.RANKS,
        (1, 2, 3, 4),
        (True, False),
        (True, False),
    ]
    for (a, left), (b, right) in itertools.combinations(enumerate(axes), 2):
        assert {(kind[a], kind[b]) for kind in kinds.values()} == set(itertools.product(left, right))


def test_scan_grid_thins_large_cases_and_repeats_itself():
    limit = 200_000
    grid = grids.scan_grid(max_updates=limit, seed=3)
    assert grid == grids.scan_grid(max_updates=limit, seed=3)
    assert max(case.updates for case in grid) <= limit
    assert {case.L for case in grid} == set(grids.LENGTHS)

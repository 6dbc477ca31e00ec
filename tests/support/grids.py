"""Grids of cases: every value of every axis meets every value of every other axis."""

import itertools
from dataclasses import replace

import numpy as np

from tests.support.cases import (
    Conv3dCase,
    ConvCase,
    ConvTranspose3dCase,
    InstanceNormCase,
    KanCase,
    ScanCase,
    TokenNormCase,
    UpsampleCase,
)

LENGTHS = (1, 2, 3, 7, 31, 32, 33, 127, 128, 129, 151, 372, 1134, 2048, 4097, 32768)
STATES = (1, 8, 16, 17, 64)
CHANNELS = (1, 3, 16, 96, 100)
RANKS = (1, 3, 24)
# `S` stands for a slice count that divides L, drawn for each case.
DIRECTIONS = (
    "forward",
    "backward",
    "slices:S",
    "slices:S:backward",
    "forward,backward",
    "backward,slices:S",
    "forward,backward,slices:S",
    "slices:S:backward,backward,forward",
    "forward,backward,slices:S,slices:S:backward",
)


def scan_grid(max_updates: int, seed: int = 0) -> list[ScanCase]:
    """Cases in which every value of every axis meets every value of every other axis.

    A case over `max_updates` state updates falls back to batch 1, then to fewer channels and states.
    """
    axes = {
        "L": LENGTHS,
        "N": STATES,
        "D": CHANNELS,
        "R": RANKS,
        "directions": DIRECTIONS,
        "has_z": (True, False),
        "B": (1, 2),
        "extreme": (False, True),
        "scale": (1.0, 0.5),
    }
    rng = np.random.default_rng(seed)
    cases = []
    for row in _pairwise(list(axes.values()), rng):
        values = dict(zip(axes, row, strict=True))
        values["directions"] = _with_slices(values["directions"], values["L"], rng)
        case = ScanCase(**values, K=values["directions"].count(",") + 1, seed=int(rng.integers(2**31)))
        cases.append(_thinned(case, max_updates))
    return cases


def conv_grid(seed: int = 0) -> list[ConvCase]:
    """As scan_grid, for DirectionalConv1d."""
    rng = np.random.default_rng(seed)
    cases = []
    lengths = [length for length in LENGTHS if length <= 4097]
    for batch, channels, length, width, directions in _pairwise(
        [(1, 2), CHANNELS, lengths, (1, 2, 3, 4, 7), DIRECTIONS], rng
    ):
        directions = _with_slices(directions, length, rng)
        paths = directions.count(",") + 1
        cases.append(ConvCase(batch, paths, channels, length, width, directions, int(rng.integers(2**31))))
    return cases


def token_norm_grid(seed: int = 0) -> list[TokenNormCase]:
    """As scan_grid, for TokenNorm."""
    rng = np.random.default_rng(seed)
    rows = _pairwise([(1, 3), (1, 7, 8, 9, 48, 100, 385), (1, 31, 32, 33, 257, 1000)], rng)
    return [TokenNormCase(*row, seed=int(rng.integers(2**31))) for row in rows]


def instance_norm_grid(seed: int = 0) -> list[InstanceNormCase]:
    """As scan_grid, for InstanceNorm: maps of one voxel, of one block and of many."""
    rng = np.random.default_rng(seed)
    axes = [
        (1, 2),
        (1, 3),
        ((1, 1, 1), (3, 5, 7), (16, 16, 16), (17, 16, 16), (21, 33, 31), (64, 65, 66)),
        (0.0, -10.0, 100.0),
        (True, False),
        ("none", "relu", "leaky_relu"),
    ]
    return [InstanceNormCase(*row, seed=int(rng.integers(2**31))) for row in _pairwise(axes, rng)]


def kan_grid(seed: int = 0) -> list[KanCase]:
    """As scan_grid, for KanLinear."""
    rng = np.random.default_rng(seed)
    lengths = [length for length in LENGTHS if length <= 2048]
    rows = _pairwise(
        [(1, 2), (1, 3, 48, 100), (1, 3, 48, 100), lengths, (4, 8, 11), ((-1.0, 1.0), (-0.5, 2.0))], rng
    )
    return [KanCase(*row[:-1], *row[-1], seed=int(rng.integers(2**31))) for row in rows]


def conv3d_grid(seed: int = 0) -> list[Conv3dCase]:
    """As scan_grid: 3x3x3 as networks have them, any kernels, strides and paddings, 3x3x3 of stride 2."""
    rng = np.random.default_rng(seed)
    sides = (1, 2, 5, 16, 17, 33)
    cases = []
    for batch, channels, outputs, *shape, bias in _pairwise(
        [(1, 2), (1, 3, 8, 20), (1, 4, 8, 11), sides, sides, sides, (True, False)], rng
    ):
        same = ((3,) * 3, (1,) * 3, (1,) * 6, 1)
        cases.append(
            Conv3dCase(batch, channels, outputs, tuple(shape), *same, bias, int(rng.integers(2**31)))
        )
    for batch, groups, channels, outputs, kernel, stride, before, after, bias in _pairwise(
        [(1, 2), (1, 2, 5), (1, 3), (1, 3, 9), *[(1, 2, 3, 7)] * 2, (0, 1, 3), (0, 1), (True, False)], rng
    ):
        kernels = (kernel, max(kernel - 1, 1), kernel)
        strides = (min(stride, kernel), 1, min(stride, kernel))
        pads = tuple(min(pad, k - 1) for pad in (before, after) for k in kernels)
        shape = tuple(int(k + rng.integers(0, 20)) for k in kernels)
        channels, outputs, seed = groups * channels, groups * outputs, int(rng.integers(2**31))
        cases.append(Conv3dCase(batch, channels, outputs, shape, kernels, strides, pads, groups, bias, seed))
    for batch, channels, outputs, *shape, bias in _pairwise(
        [
            (1, 2),
            (1, 3, 20),
            (1, 8, 11),
            *[(1, 2, 3, 4, 7, 10)] * 2,
            (1, 2, 15, 16, 31, 32, 33, 70),
            (True, False),
        ],
        rng,
    ):
        halving = ((3,) * 3, (2,) * 3, (1,) * 6, 1)
        cases.append(
            Conv3dCase(batch, channels, outputs, tuple(shape), *halving, bias, int(rng.integers(2**31)))
        )
    return cases


def conv_transpose3d_grid(seed: int = 0) -> list[ConvTranspose3dCase]:
    """As scan_grid."""
    rng = np.random.default_rng(seed)
    sides, widths, strides = (1, 2, 5, 12), (1, 2, 3, 7, 8, 9, 15, 16, 17, 33, 48), (1, 2)
    rows = _pairwise(
        [(1, 2), (1, 3, 8, 33), (1, 3, 4, 9), sides, sides, widths, *[strides] * 3, (None, 1, 5)], rng
    )
    return [
        ConvTranspose3dCase(*row[:3], tuple(row[3:6]), tuple(row[6:9]), row[9], int(rng.integers(2**31)))
        for row in rows
    ]


def upsample_grid(seed: int = 0) -> list[UpsampleCase]:
    """As scan_grid."""
    rng = np.random.default_rng(seed)
    sides, widths = (1, 2, 5, 12), (1, 2, 3, 7, 8, 15, 16, 17, 33, 48)
    rows = _pairwise([(1, 2), (1, 3, 8), sides, sides, widths, (True, False)], rng)
    return [
        UpsampleCase(batch, channels, tuple(shape), has_addend, int(rng.integers(2**31)))
        for batch, channels, *shape, has_addend in rows
    ]


def _pairwise(axes: list, rng: np.random.Generator) -> list[tuple]:
    """Rows that hold every pair of values of every two axes: greedily the best of some random rows."""
    missing = {
        (a, i, b, j)
        for a, b in itertools.combinations(range(len(axes)), 2)
        for i in range(len(axes[a]))
        for j in range(len(axes[b]))
    }
    rows = []
    while missing:
        a, i, b, j = min(missing)
        candidates = rng.integers(0, [len(axis) for axis in axes], (50, len(axes)))
        candidates[:, a], candidates[:, b] = i, j
        best = max((_pairs(row) & missing for row in candidates.tolist()), key=len)
        row = next(row for row in candidates.tolist() if _pairs(row) & missing == best)
        missing -= best
        rows.append(tuple(axis[k] for axis, k in zip(axes, row, strict=True)))
    return rows


def _pairs(row: list[int]) -> set[tuple]:
    return {(a, row[a], b, row[b]) for a, b in itertools.combinations(range(len(row)), 2)}


def _with_slices(directions: str, length: int, rng: np.random.Generator) -> str:
    divisors = [s for s in range(1, min(length, 64) + 1) if length % s == 0]
    return directions.replace(":S", f":{rng.choice(divisors)}")


def _thinned(case: ScanCase, max_updates: int) -> ScanCase:
    for smaller in ({"B": 1}, {"D": 3}, {"N": 8}, {"D": 1}, {"N": 1}):
        if case.updates <= max_updates:
            break
        case = replace(case, **{axis: min(value, getattr(case, axis)) for axis, value in smaller.items()})
    return case

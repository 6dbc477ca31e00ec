"""Cases of the ops, shared by the tests of every home of an op and by the benchmarks."""

import itertools
from dataclasses import dataclass, replace

import numpy as np

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


@dataclass(frozen=True)
class ScanCase:
    B: int
    K: int
    D: int
    L: int
    N: int
    R: int
    directions: str
    has_z: bool
    scale: float
    seed: int
    extreme: bool

    @property
    def updates(self) -> int:
        """State updates: one exp and one multiply-add each."""
        return self.B * self.K * self.D * self.L * self.N

    def inputs(self) -> dict[str, np.ndarray | None]:
        """The op's tensors by name, float32. Extreme: delta from 0 to 60, zeros in u, large B and z."""
        rng = np.random.default_rng(self.seed)

        def normal(*shape):
            return rng.standard_normal(shape, dtype=np.float32)

        delta = np.exp(rng.uniform(np.log(0.001), np.log(0.1), (self.K, self.D)))
        dt_bias = np.log(np.expm1(delta))
        dt_weight = normal(self.K, self.D, self.R) * self.R**-0.5
        A_log = np.log(np.arange(1, self.N + 1)) + 0.1 * normal(self.K, self.D, self.N)
        u = normal(self.B, self.K, self.D, self.L)
        x_dbl = normal(self.B, self.K, self.R + 2 * self.N, self.L)
        z = normal(self.B, self.D, self.L) if self.has_z else None
        if self.extreme:
            x_dbl[:, :, : self.R] = 0.1 * rng.choice([-1, 0, 1], (self.B, self.K, 1, self.L))
            dt_bias = rng.choice([-100.0, -30.0, 0.0, 19.99, 20.01, 60.0], (self.K, self.D))
            x_dbl[:, :, self.R : self.R + self.N] *= 20
            u *= rng.random(u.shape) < 0.7
            z = None if z is None else 30 * z
        return {
            "u": u,
            "x_dbl": x_dbl,
            "dt_weight": dt_weight.astype(np.float32),
            "dt_bias": dt_bias.astype(np.float32),
            "A": -np.exp(A_log).astype(np.float32),
            "D_skip": 1 + 0.1 * normal(self.K, self.D),
            "z": z,
        }


@dataclass(frozen=True)
class ConvCase:
    B: int
    K: int
    D: int
    L: int
    W: int
    directions: str
    seed: int

    def inputs(self) -> dict[str, np.ndarray]:
        """x, weight and bias, float32."""
        rng = np.random.default_rng(self.seed)
        return {
            "x": rng.standard_normal((self.B, self.D, self.L), dtype=np.float32),
            "weight": rng.uniform(-1, 1, (self.K, self.D, self.W)).astype(np.float32) * self.W**-0.5,
            "bias": rng.standard_normal((self.K, self.D), dtype=np.float32),
        }


@dataclass(frozen=True)
class KanCase:
    B: int
    C: int
    O: int  # noqa: E741  the op's own name for its output channels
    L: int
    G: int
    grid_min: float
    grid_max: float
    seed: int

    def inputs(self) -> dict[str, np.ndarray]:
        """x (inside, outside and exactly on the knots), base_weight and spline_weight, float32."""
        rng = np.random.default_rng(self.seed)
        centre, half = (self.grid_min + self.grid_max) / 2, (self.grid_max - self.grid_min) / 2
        x = centre + half * 1.5 * rng.standard_normal((self.B, self.C, self.L))
        knot = 2 * half / (self.G - 3)
        on_a_knot = rng.random(x.shape) < 0.1
        x[on_a_knot] = self.grid_min + knot * rng.integers(-4, self.G + 2, on_a_knot.sum())
        return {
            "x": x.astype(np.float32),
            "base_weight": rng.standard_normal((self.O, self.C), dtype=np.float32) * self.C**-0.5,
            "spline_weight": rng.standard_normal((self.O, self.C, self.G), dtype=np.float32) * self.C**-0.5,
        }


@dataclass(frozen=True)
class TokenNormCase:
    B: int
    C: int
    L: int
    seed: int

    def inputs(self) -> dict[str, np.ndarray]:
        """Tokens off zero, where a variance that is not taken about the mean would be lost."""
        rng = np.random.default_rng(self.seed)
        return {
            "x": 5 + rng.standard_normal((self.B, self.C, self.L), dtype=np.float32),
            "weight": rng.standard_normal(self.C, dtype=np.float32),
            "bias": rng.standard_normal(self.C, dtype=np.float32),
        }


@dataclass(frozen=True)
class InstanceNormCase:
    B: int
    C: int
    sides: tuple[int, int, int]
    mean: float
    has_addend: bool
    activation: str
    seed: int

    @property
    def attributes(self) -> dict:
        return {"epsilon": 1e-4, "activation": self.activation, "slope": 0.25}

    def inputs(self) -> dict[str, np.ndarray | None]:
        """x, of which a third is one value, weight, bias and addend, float32."""
        rng = np.random.default_rng(self.seed)
        shape = (self.B, self.C, *self.sides)
        x = (self.mean + rng.standard_normal(shape)).astype(np.float32)
        x[:, :, : self.sides[0] // 3] = 0
        return {
            "x": x,
            "weight": rng.standard_normal(self.C, dtype=np.float32),
            "bias": rng.standard_normal(self.C, dtype=np.float32),
            "addend": rng.standard_normal(shape, dtype=np.float32) if self.has_addend else None,
        }


@dataclass(frozen=True)
class Conv3dCase:
    B: int
    C: int
    O: int  # noqa: E741  the op's own name for its output channels
    sides: tuple[int, int, int]
    kernel: tuple[int, int, int]
    strides: tuple[int, int, int]
    pads: tuple[int, int, int, int, int, int]
    group: int
    has_bias: bool
    seed: int

    @property
    def attributes(self) -> dict:
        return {"strides": self.strides, "pads": self.pads, "group": self.group}

    def inputs(self) -> dict[str, np.ndarray | None]:
        """x, weight and bias, float32."""
        rng = np.random.default_rng(self.seed)
        channels = self.C // self.group
        scale = np.float32((channels * np.prod(self.kernel)) ** -0.5)
        return {
            "x": rng.standard_normal((self.B, self.C, *self.sides), dtype=np.float32),
            "weight": rng.standard_normal((self.O, channels, *self.kernel), dtype=np.float32) * scale,
            "bias": rng.standard_normal(self.O, dtype=np.float32) if self.has_bias else None,
        }


@dataclass(frozen=True)
class UpsampleCase:
    B: int
    C: int
    sides: tuple[int, int, int]
    has_addend: bool
    seed: int

    def inputs(self) -> dict[str, np.ndarray | None]:
        """x and addend, float32."""
        rng = np.random.default_rng(self.seed)
        doubled = (self.B, self.C, *(2 * side for side in self.sides))
        return {
            "x": rng.standard_normal((self.B, self.C, *self.sides), dtype=np.float32),
            "addend": rng.standard_normal(doubled, dtype=np.float32) if self.has_addend else None,
        }


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
    """As scan_grid: 3x3x3 convolutions as networks have them, and any kernels, strides and paddings."""
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
    return cases


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

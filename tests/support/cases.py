"""Cases of the ops, shared by the tests of every home of an op and by the benchmarks."""

from dataclasses import dataclass

import numpy as np


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
class ConvTranspose3dCase:
    B: int
    C: int
    O: int  # noqa: E741  the op's own name for its output channels
    sides: tuple[int, int, int]
    strides: tuple[int, int, int]
    skip_channels: int | None
    seed: int

    @property
    def attributes(self) -> dict:
        return {"strides": self.strides}

    def inputs(self) -> dict[str, np.ndarray | None]:
        """x, weight, bias and skip, float32."""
        rng = np.random.default_rng(self.seed)
        larger = tuple(side * stride for side, stride in zip(self.sides, self.strides, strict=True))
        skip = None
        if self.skip_channels is not None:
            skip = rng.standard_normal((self.B, self.skip_channels, *larger), dtype=np.float32)
        weight = rng.standard_normal((self.C, self.O, *self.strides), dtype=np.float32)
        return {
            "x": rng.standard_normal((self.B, self.C, *self.sides), dtype=np.float32),
            "weight": weight * np.float32(self.C**-0.5),
            "bias": rng.standard_normal(self.O, dtype=np.float32),
            "skip": skip,
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

"""Instructions that a kernel takes for a unit of its work, and the time this takes at a GPU's rates."""

import re
from collections import Counter
from dataclasses import dataclass

from benchmarks.sass_code import EX2, PRODUCT, WIDE_LOAD, Kernel, Turn, by_kind
from benchmarks.sass_kernels import OF_A_STEP, SIZE, Shape

MOVES = "LDG|STG|STS"
ENTER = "describe the kernel as it is now in benchmarks/sass_kernels.py"


@dataclass(frozen=True)
class Count:
    """Instructions that a lane executes for a unit, by name."""

    shape: Shape
    kernel: Kernel
    architecture: int
    names: Counter[str]

    @property
    def kinds(self) -> dict[str, float]:
        return by_kind(self.names)

    @property
    def total(self) -> float:
        return sum(self.names.values())

    @property
    def title(self) -> str:
        return re.sub("<.*traits<", "<", self.kernel.name).replace("> >", ">")


@dataclass(frozen=True)
class Gpu:
    """clock: in Hz. bandwidth: of device memory, in bytes a second."""

    name: str
    sms: int
    clock: float
    bandwidth: float


GPUS = {
    87: Gpu("Jetson Orin AGX", 16, 1.3e9, 205e9),
    90: Gpu("H100 SXM", 132, 1.7e9, 3.35e12),
    120: Gpu("RTX 5090", 170, 2.4e9, 1.79e12),
}
SCHEDULERS = 4  # of an SM: each issues an instruction of a warp a clock
SPECIAL_LANES = 16  # of an SM: special functions a clock


def milliseconds(count: Count, gpu: Gpu) -> dict[str, float]:
    """The least time at each limit.

    issue = units / 32 * instructions / (4 * SMs * clock)
    special functions = units * special / (16 * SMs * clock)
    memory = bytes / bandwidth

    SMs are those that have a block to run.
    """
    shape = count.shape
    clocks = gpu.clock * min(gpu.sms, shape.most_blocks or gpu.sms)
    return {
        "issue": 1e3 * shape.units / 32 * count.total / (SCHEDULERS * clocks),
        "special functions": 1e3 * shape.units * count.kinds["special"] / (SPECIAL_LANES * clocks),
        "memory": 1e3 * shape.bytes / gpu.bandwidth,
    }


def counted(shape: Shape, kernels: dict[str, Kernel], architecture: int) -> Count:
    """Raises RuntimeError where there is no such kernel, or its loops are not as described."""
    place = f"{shape.name} on sm_{architecture}"
    if shape.name not in kernels:
        raise RuntimeError(f"expected {place}, got {', '.join(kernels) or 'no kernel'}: {ENTER}")
    kernel = kernels[shape.name]
    hot = kernel.hottest(shape.marks)[: 2 if shape.twice else 1]
    if not hot:
        raise RuntimeError(f"{place}: expected a loop with {shape.marks}, got none: {ENTER}")
    nest = [hot[0]]
    while around := kernel.around(nest[-1]):
        nest.append(around)
    names: Counter[str] = Counter()
    inside = []
    for pattern, many in shape.inner:
        loop = kernel.densest(pattern, nest)
        if loop is None:
            raise RuntimeError(
                f"{place}: expected a loop with {pattern} beside the hot one, got none: {ENTER}"
            )
        turn = kernel.turn(loop, f"{pattern}|{MOVES}")
        add(names, turn, many / turn.count(pattern))
        inside.append(loop)
    turns = [kernel.turn(loop, shape.marks, inside) for loop in hot]
    for turn in turns:
        add(names, turn, 1 / work_of(shape, turn))
    spans = [span for span in shape.spans if span > work_of(shape, turns[0])]
    if len(nest) != len(spans):
        raise RuntimeError(
            f"{place}: expected {len(spans) - 1} loops around the hot one, got {len(nest) - 1}: {ENTER}"
        )
    for within, loop, span in zip(nest, [*nest[1:], kernel.whole], spans, strict=True):
        add(names, kernel.turn(loop, WIDE_LOAD, [within, *hot, *inside]), 1 / span)
    return Count(shape, kernel, architecture, names)


def add(names: Counter[str], turn: Turn, times: float) -> None:
    for name, many in turn.names.items():
        names[name] += many * times


def work_of(shape: Shape, turn: Turn) -> float:
    """Units of a turn. An update's share of a step is whole: the exponential of a gate is no part of one."""
    marks = turn.count(shape.marks)
    if shape.a_mark == OF_A_STEP:
        return marks // (SIZE.states + 1) * SIZE.states
    return marks * shape.a_mark


def undescribed(kernels: dict[str, Kernel], shapes: tuple[Shape, ...]) -> list[str]:
    """Kernels with exponentials or products in a loop of which no shape describes any instance."""
    described = [re.sub("<.*", "<", shape.name) for shape in shapes]
    return [
        name
        for name, kernel in kernels.items()
        if not name.startswith(tuple(described)) and kernel.innermost(f"{EX2}|{PRODUCT}")
    ]

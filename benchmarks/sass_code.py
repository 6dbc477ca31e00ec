"""Kernels in machine code (SASS), as nvdisasm writes it: their loops, and the instructions that a turn takes.

A turn is counted along one way from a loop's first block back to it: the way with the most marks
(instructions that the loop is there for, such as MUFU.EX2), and the shortest of those. Branches off it are
not counted (a slow way of a function, tokens that are not neighbours), nor are loops that it can pass by.
"""

import re
import subprocess
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from benchmarks.sass_flow import Loop, best_way, loops_of

# The first kind whose pattern the start of an instruction's name matches.
KINDS = {
    "fma": r"FFMA|FMUL|FADD|FMNMX|HFMA2(?!\.MMA)|HMUL2|HADD2(?!\.F32)|DFMA|DMUL|DADD",
    "tensor": r"HMMA|HGMMA|IMMA|LDSM",
    "special": r"MUFU",
    "conversion": r"F2F|F2I|I2F|HADD2\.F32|F2FP|I2FP|FRND",
    "shared": r"LDS|STS|ATOMS|SHFL",
    "global": r"LDG|STG|LD\b|ST\b|ATOM|RED|UBLKCP|CP\b",
    "local": r"LDL|STL",
    "control": r"BRA|BRX|EXIT|BSSY|BSYNC|BREAK|BMOV|CALL|RET|KILL|NOP|YIELD|BAR|WARPSYNC|(LDG)?DEPBAR|MEMBAR",
}
INTEGER = "integer"
EX2 = r"MUFU\.EX2"
WIDE_LOAD = r"LDG\S*\.(64|128)|LDGSTS|UBLKCP"
PRODUCT = r"FFMA|HMMA|HGMMA"
LINE = re.compile(
    r"\s+/\*[0-9a-f]{4,}\*/\s+\{?\s*(?P<guard>@!?U?P\w+\s+)?(?P<name>[A-Z][A-Z0-9_.]*)(?P<rest>.*?);"
)
TARGET = re.compile(r"`\((\.L_\w+)\)")


@dataclass(frozen=True)
class Instruction:
    """guard: it is executed only where its predicate says so. target: the label that it branches to."""

    name: str
    guard: bool
    target: str | None
    rest: str

    @property
    def falls_through(self) -> bool:
        """Whether the one after it can be next."""
        if self.target:
            return self.guard or not self.rest.strip().startswith("`(")
        return self.guard or not self.name.startswith(("EXIT", "RET", "BRX", "KILL"))


@dataclass(frozen=True)
class Turn:
    """How often each instruction is executed in one turn."""

    names: Counter[str]

    @property
    def total(self) -> int:
        return self.names.total()

    def count(self, pattern: str) -> int:
        return sum(many for name, many in self.names.items() if re.match(pattern, name))


@dataclass(frozen=True)
class Kernel:
    """registers, local: of a thread, local in bytes. shared: bytes of a block, without what a launch adds."""

    name: str
    instructions: tuple[Instruction, ...]
    labels: dict[str, int]
    registers: int = 0
    shared: int = 0
    local: int = 0

    @cached_property
    def blocks(self) -> list[range]:
        """Instructions that are executed one after another, without a branch in between or into them."""
        starts = {0, *(at for at in self.labels.values() if at < len(self.instructions))}
        starts |= {
            at + 1
            for at, instruction in enumerate(self.instructions[:-1])
            if instruction.target or not instruction.falls_through
        }
        edges = [*sorted(starts), len(self.instructions)]
        return [range(*pair) for pair in pairwise(edges)]

    @cached_property
    def successors(self) -> list[set[int]]:
        at_start = {block.start: number for number, block in enumerate(self.blocks)}
        following = []
        for number, block in enumerate(self.blocks):
            last, after = self.instructions[block[-1]], set()
            if last.target in self.labels:
                after.add(at_start.get(self.labels[last.target]))
            if last.falls_through and number + 1 < len(self.blocks):
                after.add(number + 1)
            following.append(after - {None})
        return following

    @cached_property
    def loops(self) -> list[Loop]:
        return loops_of(self.successors)

    def children(self, loop: Loop) -> list[Loop]:
        inside = [other for other in self.loops if loop.holds(other)]
        return [one for one in inside if not any(other.holds(one) for other in inside)]

    def own(self, loop: Loop, pattern: str) -> int:
        """Instructions of the pattern in the loop and in no loop inside it."""
        blocks = loop.blocks.difference(*(child.blocks for child in self.children(loop)))
        return sum(self.marks(block, pattern) for block in blocks)

    def marks(self, block: int, pattern: str) -> int:
        return sum(bool(re.match(pattern, self.instructions[at].name)) for at in self.blocks[block])

    def innermost(self, pattern: str) -> list[Loop]:
        """Loops with instructions of the pattern that hold no other loop with any."""
        having = [loop for loop in self.loops if self.own(loop, pattern)]
        return [loop for loop in having if not any(loop.holds(other) for other in having)]

    def hottest(self, pattern: str) -> list[Loop]:
        """The innermost loops with the most instructions of the pattern, in the order of the code."""
        found = self.innermost(pattern)
        most = max((self.own(loop, pattern) for loop in found), default=0)
        return sorted((loop for loop in found if self.own(loop, pattern) == most), key=lambda one: one.first)

    def densest(self, pattern: str, beside: Collection[Loop]) -> Loop | None:
        """The innermost loop with the largest share of such instructions; none of `beside`."""
        found = [loop for loop in self.innermost(pattern) if loop not in beside]
        return max(found, key=lambda loop: self.own(loop, pattern) / self.size(loop), default=None)

    def size(self, loop: Loop) -> int:
        return sum(len(self.blocks[block]) for block in loop.blocks)

    @cached_property
    def whole(self) -> Loop:
        """All of the kernel as if it were a loop that is turned once."""
        last = [self.instructions[block[-1]].name for block in self.blocks]
        ends = (number for number, name in enumerate(last) if name == "EXIT")
        return Loop(0, frozenset(ends), frozenset(range(len(self.blocks))))

    def around(self, loop: Loop) -> Loop | None:
        """The smallest loop that holds this one, without the whole kernel."""
        holding = (other for other in self.loops if other.holds(loop))
        return min(holding, key=lambda one: len(one.blocks), default=None)

    def turn(self, loop: Loop, marks: str, through: Collection[Loop] = ()) -> Turn:
        """One turn without what is in the loops `through`, which the way leads through where one way can."""
        children = self.children(loop)
        place = {block: child for child in children for block in child.blocks}
        counted_apart = [child for child in children if any(one.blocks <= child.blocks for one in through)]

        def worth(node: int) -> tuple[int, int]:
            if node not in place:
                return self.marks(node, marks), -len(self.blocks[node])
            if place[node] in counted_apart:
                return 1 << 20, 0
            return 0, -self.turn(place[node], marks).total

        way = best_way(loop, self.successors, {block: child.first for block, child in place.items()}, worth)
        names: Counter[str] = Counter()
        for node in way:
            if node not in place:
                names.update(self.instructions[at].name for at in self.blocks[node])
        for child in children:
            if child.first in way and child not in counted_apart:
                names += self.turn(child, marks).names
        return Turn(names)


def by_kind(names: Mapping[str, float]) -> dict[str, float]:
    """How many instructions of each kind there are; those of no pattern are integer ones and moves."""
    kinds = dict.fromkeys((*KINDS, INTEGER), 0.0)
    for name, many in names.items():
        kind = next((kind for kind, pattern in KINDS.items() if re.match(pattern, name)), INTEGER)
        kinds[kind] += many
    return kinds


def kernels_in(listing: str) -> Iterator[Kernel]:
    """Yield the kernels that nvdisasm lists, under the names that the compiler gave them."""
    for section in re.split(r"^\s*\.section\s+\.text\.", listing, flags=re.MULTILINE)[1:]:
        symbol = re.match(r"[\w$]+", section)
        labels: dict[str, int] = {}
        instructions: list[Instruction] = []
        for line in section.splitlines():
            if label := re.match(r"(\.L_\w+):", line):
                labels[label[1]] = len(instructions)
            elif found := LINE.match(line):
                # A call of a label, not of a function, is a branch that reaches far (sm_80 to sm_89).
                target = TARGET.search(found["rest"]) if found["name"].startswith(("BRA", "CALL")) else None
                instructions.append(
                    Instruction(found["name"], bool(found["guard"]), target and target[1], found["rest"])
                )
        if symbol and instructions:
            yield Kernel(symbol[0], tuple(instructions), labels)


def readable(symbols: list[str]) -> list[str]:
    """outputs_kernel<half, 16> for a mangled symbol."""
    done = subprocess.run(["c++filt", *symbols], capture_output=True, text=True, check=True)
    return [short(name) for name in done.stdout.splitlines()]


def short(name: str) -> str:
    name = re.sub(r"\(anonymous namespace\)::|msdk::cuda::|msdk::|c10::|^void ", "", name)
    return re.sub(r"\(.*", "", re.sub(r"\((int|bool)\)", "", name)).replace("__half", "half")

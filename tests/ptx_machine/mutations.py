"""Mutants of PTX: one instruction of it, at random, computes something else."""

import re
from dataclasses import dataclass
from random import Random

MUTATIONS = tuple(
    (re.compile(right), wrong)
    for right, wrong in (
        (r"\badd\.((?:rn\.)?[fsu]\d+)", r"sub.\1"),
        (r"\bsub\.((?:rn\.)?[fsu]\d+)", r"add.\1"),
        (r"\bfma\.rn\.(f\d+)(\s+%\w+), (%\w+), ([^,;]+), ([^,;]+);", r"fma.rn.\1\2, \3, \5, \4;"),
        (r"\bmul\.f32", "add.f32"),
        (r"\bdiv\.approx\.f32", "mul.f32"),
        (r"\bmax\.", "min."),
        (r"\bmin\.", "max."),
        (r"\bsetp\.lt\.", "setp.le."),
        (r"\bsetp\.ge\.", "setp.gt."),
        (r"\bsetp\.gt\.", "setp.ge."),
        (r"\bsetp\.eq\.", "setp.ne."),
        (r"\bsetp\.ne\.", "setp.eq."),
        (r"\band\.pred", "or.pred"),
        (r"\bor\.pred", "and.pred"),
        (r"@!(%p\d+)", r"@\1"),
        (r"\bshl\.b(\d+)([^;]*), \d+;", r"shl.b\1\2, 1;"),
        (r"\b(ld|st)\.(shared|global)\.(\w+)([^\[]*)\[(%\w+)\]", r"\1.\2.\3\4[\5+4]"),
        (r"\bselp\.(\w+)(\s+%\w+), ([^,]+), ([^,]+),", r"selp.\1\2, \4, \3,"),
        (r"\bbar\.(?:warp\.)?sync[^;]*;", ""),
    )
)


@dataclass(frozen=True)
class Mutant:
    """The line of the PTX that differs, as it was and as it is."""

    line: int
    was: str
    is_now: str

    def edit(self, ptx: str) -> str:
        return self._with(ptx, self.is_now)

    def trap(self, ptx: str) -> str:
        """PTX that ends with a fault where the line is reached."""
        return self._with(ptx, "trap;")

    def _with(self, ptx: str, text: str) -> str:
        lines = ptx.splitlines()
        lines[self.line - 1] = text
        return "\n".join(lines)


def mutants_of(ptx: str) -> list[Mutant]:
    """All mutants, in the order of their lines."""
    found = []
    for number, line in enumerate(ptx.splitlines(), 1):
        for right, wrong in MUTATIONS:
            changed, count = right.subn(wrong, line, count=1)
            if count and changed != line:
                found.append(Mutant(number, line.strip(), changed))
                break
    return found


def some_mutants(ptx: str, count: int, seed: int) -> list[Mutant]:
    mutants = mutants_of(ptx)
    return sorted(Random(seed).sample(mutants, min(count, len(mutants))), key=lambda mutant: mutant.line)

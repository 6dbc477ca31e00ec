"""One of several jobs that share a cohort."""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Part:
    """Part `index` of `count`, from 1 on, of a cohort that several jobs share."""

    index: int = 1
    count: int = 1

    def __str__(self) -> str:
        return f"{self.index}-of-{self.count}"


WHOLE = Part()


def parse_part(text: str) -> Part:
    """`2/8` as Part(2, 8). Raises ValueError."""
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise ValueError(f"expected i/n with i from 1 to n, such as 2/8, got {text!r}")
    return Part(int(match[1]), int(match[2]))

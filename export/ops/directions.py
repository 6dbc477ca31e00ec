"""The order in which a scan visits the tokens of a feature map, and moving tensors in and out of it.

A direction is (slices S, backward). With L = S * M tokens, step t = j * S + s visits token
s * M + j; `backward` reads the same path from its end. `forward` is S = 1.
"""

from typing import NamedTuple

from torch import Tensor

from msdk_rt.errors import InputError, shown

MOST_DIRECTIONS = 8  # the kernels' limit
_HOW = "write e.g. 'forward', 'backward', 'slices:8' or 'slices:8:backward', separated by commas"


class Direction(NamedTuple):
    slices: int
    backward: bool


def parse_directions(directions: str) -> tuple[Direction, ...]:
    """'forward,slices:4:backward' -> (Direction(1, False), Direction(4, True)).

    Raises InputError on any word that is not a direction, and on more than MOST_DIRECTIONS of them.
    """
    words = directions.split(",")
    if len(words) > MOST_DIRECTIONS:
        raise InputError(f"{len(words)} directions in {shown(directions)}: give at most {MOST_DIRECTIONS}")
    return tuple(_parse_direction(word, directions) for word in words)


def _parse_direction(word: str, directions: str) -> Direction:
    match word.split(":"):
        case ["forward"]:
            return Direction(1, False)
        case ["backward"]:
            return Direction(1, True)
        case ["slices", digits, *rest] if (
            digits.isdecimal() and int(digits) > 0 and rest in ([], ["backward"])
        ):
            return Direction(int(digits), bool(rest))
    raise InputError(f"unknown direction {shown(word)} in {shown(directions)}: {_HOW}")


def check_slices(directions: tuple[Direction, ...], length: int) -> None:
    """Raise InputError unless every direction's slice count divides the number of tokens."""
    for direction in directions:
        if length % direction.slices:
            raise InputError(
                f"direction slices:{direction.slices} needs a token count that {direction.slices} divides, "
                f"got L = {length}: choose a slice count that divides the feature map's tokens"
            )


def to_steps(tokens: Tensor, direction: Direction) -> Tensor:
    """(..., L) in token order -> (..., L) in the order the direction visits them."""
    steps = tokens
    if direction.slices > 1:
        steps = steps.unflatten(-1, (direction.slices, -1)).transpose(-1, -2).flatten(-2)
    return steps.flip(-1) if direction.backward else steps


def to_tokens(steps: Tensor, direction: Direction) -> Tensor:
    """The inverse of to_steps."""
    tokens = steps.flip(-1) if direction.backward else steps
    if direction.slices > 1:
        tokens = tokens.unflatten(-1, (-1, direction.slices)).transpose(-1, -2).flatten(-2)
    return tokens

"""Whether a value of a manifest is a number."""

import math

LARGEST = 1e30  # float32 holds it


def is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: object) -> bool:
    """True for a number that float32 holds."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and math.isfinite(value) and abs(value) <= LARGEST  # type: ignore[arg-type]

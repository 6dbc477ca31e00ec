"""A Segmenter's settings, as they come in: checked, and as Python's own types."""

from collections.abc import Iterable
from numbers import Integral, Real

from msdk_rt.artifact.vocabulary import BLENDS
from msdk_rt.errors import InputError, shown

AXES = (0, 1, 2)


def overlap_of(value: object) -> float:
    """A fraction that windows share, 0 <= overlap < 1. Raises InputError."""
    if not isinstance(value, Real) or not 0 <= float(value) < 1:
        raise InputError(f"overlap must be a fraction from 0 to below 1, got {shown(value)}")
    return float(value)


def blend_of(value: object) -> str:
    """The mode in which windows are blended. Raises InputError."""
    if not isinstance(value, str) or value not in BLENDS:
        raise InputError(f"blend must be {' or '.join(BLENDS)}, got {shown(value)}")
    return str(value)


def count_of(name: str, value: object, expected: str = "a whole number of at least 1") -> int:
    """A whole number of at least 1, NumPy's too. Raises InputError."""
    if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
        raise InputError(f"{name} must be {expected}, got {shown(value)}")
    return int(value)


def threads_of(value: object) -> int | None:
    """Threads of one inference; None for the default. Raises InputError."""
    return None if value is None else count_of("threads", value, "a whole number of at least 1, or None")


def mirror_axes_of(value: object) -> tuple[int, ...] | None:
    """Different axes among 0, 1, 2 of (D, H, W), whole numbers of Python or NumPy; None for the model's own.

    Raises InputError.
    """
    if value is None:
        return None
    given = list(value) if isinstance(value, Iterable) and not isinstance(value, (str, bytes)) else [value]
    axes = tuple(int(axis) for axis in given if isinstance(axis, Integral) and not isinstance(axis, bool))
    if not isinstance(value, Iterable) or len(axes) < len(given) or set(axes) - set(AXES) or _twice(axes):
        raise InputError(
            f"mirror_axes must be different axes among 0, 1, 2 (D, H, W), such as (0, 2), got {shown(value)}"
        )
    return axes


def _twice(axes: tuple[int, ...]) -> bool:
    return len(set(axes)) < len(axes)

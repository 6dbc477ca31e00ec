"""Sides of voxels in words, and the range of them that a manifest's entry `spacing` knows."""

from collections.abc import Iterable, Mapping, Sequence


def in_words(sides: Iterable[float]) -> str:
    """Three sides as `1 x 1 x 2.5`."""
    return " x ".join(f"{side:.3g}" for side in sides)


def range_in_words(spacing: Mapping[str, Sequence[float]]) -> str:
    """From the entry's `low` to its `high`; one of them where they are equal."""
    low, high = spacing["low"], spacing["high"]
    return in_words(low) if tuple(low) == tuple(high) else f"{in_words(low)} to {in_words(high)}"

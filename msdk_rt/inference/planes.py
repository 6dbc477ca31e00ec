"""Work on volumes a few planes at a time, so that NumPy's temporaries stay in the processor's cache."""

BLOCK = 1 << 18  # numbers: a megabyte of float32


def plane_blocks(planes: int, size: int) -> list[slice]:
    """`planes` planes of `size` numbers, cut into runs of at most BLOCK numbers, or of one plane."""
    step = max(1, BLOCK // size)
    return [slice(first, min(first + step, planes)) for first in range(0, planes, step)]

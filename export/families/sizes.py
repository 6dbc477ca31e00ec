"""The rule that the sizes in every family's configuration keep."""

import dataclasses
from typing import Any

from msdk_rt.errors import InputError


def check_sizes(config: Any) -> None:
    """Raise InputError unless every int and tuple[int, ...] field holds whole numbers of at least 1."""
    sizes = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if field.type is int:
            sizes[field.name] = value
        elif field.type == tuple[int, ...]:
            sizes |= {f"{field.name}[{index}]": size for index, size in enumerate(value)}
    for name, size in sizes.items():
        if not isinstance(size, int) or isinstance(size, bool) or size < 1:
            raise InputError(f"{name} must be a whole number of at least 1, got {size!r}")

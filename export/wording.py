"""Names from a checkpoint or a graph, and messages of other libraries, as an error shows them."""

import re

LONGEST = 150  # of a name that is shown
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def listed(names: list[str], limit: int = 8) -> str:
    """The first names, and how many more there are."""
    shown = [name if len(name) <= LONGEST else f"{name[:LONGEST]}..." for name in names[:limit]]
    rest = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(shown) + rest


def first_line(error: BaseException) -> str:
    """The first line of its message as plain text, "" where it has none."""
    line = next(iter(str(error).strip().splitlines()), "")
    return _COLOURS.sub("", line).removesuffix(" Next steps:")  # PyTorch's exporter has both

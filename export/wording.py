"""Names from a checkpoint or a graph, and messages of other libraries, as an error shows them."""

LONGEST = 150  # of a name that is shown


def listed(names: list[str], limit: int = 8) -> str:
    """The first names, and how many more there are."""
    shown = [name if len(name) <= LONGEST else f"{name[:LONGEST]}..." for name in names[:limit]]
    rest = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(shown) + rest


def first_line(error: BaseException) -> str:
    """The first line of its message, "" where it has none."""
    return next(iter(str(error).strip().splitlines()), "")

"""How much memory is available."""

from pathlib import Path

from msdk_rt.backends.cgroups import ROOT, cgroup_folders, text_of


def available_memory(root: Path = ROOT) -> int | None:
    """Bytes that this process can still take without swapping, None where the system does not say.

    This is Linux's own figure, or the whole limit of one of the process's cgroups where that is less.
    root: of the file system that holds /proc and /sys.
    """
    free = text_of(root / "proc/meminfo").partition("MemAvailable:")[2]
    limits = (_limit(folder) for folder in cgroup_folders("memory", root))
    found = [_number(free, unit=1024), *limits]
    return min((number for number in found if number is not None), default=None)


def _limit(cgroup: Path) -> int | None:
    """Of one cgroup, in bytes; None for no limit. Version 1 says a number beyond all memory for that."""
    return _number(text_of(cgroup / "memory.max") or text_of(cgroup / "memory.limit_in_bytes"))


def _number(text: str, unit: int = 1) -> int | None:
    """The number that a text begins with; None where there is none, such as in "max"."""
    words = text.split()
    return int(words[0]) * unit if words and words[0].isdecimal() else None

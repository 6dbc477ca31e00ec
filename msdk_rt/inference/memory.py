"""How much memory is available."""

from pathlib import Path

MEMINFO = Path("/proc/meminfo")
CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")


def available_memory() -> int | None:
    """Bytes that this process can still take without swapping, None where the system does not say.

    This is Linux's own figure, or a container's whole limit where that is less.
    """
    found = [_number(CGROUP_LIMIT, "", 1), _number(MEMINFO, "MemAvailable:", 1024)]
    return min((number for number in found if number is not None), default=None)


def _number(path: Path, label: str, unit: int) -> int | None:
    """The number after `label` in the file; None where there is neither, or "max"."""
    try:
        text = path.read_text()
    except OSError:
        return None
    words = (text.partition(label)[2] if label else text).split()
    return int(words[0]) * unit if words and words[0].isdecimal() else None

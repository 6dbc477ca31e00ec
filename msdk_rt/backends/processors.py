"""How many processors this process may use: affinity, cgroup quotas, physical cores."""

import math
import os
import warnings
from collections.abc import Iterator
from pathlib import Path

from msdk_rt.artifact.notes import InputWarning

ROOT = Path("/")


def threads_for(asked: int | None) -> int:
    """Threads of one inference: those asked for, by default one per physical core.

    Never more than usable_processors(): more threads only wait for one another. Such a number is lowered with
    an InputWarning.
    """
    usable = usable_processors()
    if asked is None:
        return min(physical_cores(), usable)
    if asked > usable:
        warnings.warn(
            f"{asked} threads were asked for, and this process may use {usable} processor(s): it runs with "
            f"{usable}",
            InputWarning,
            stacklevel=2,
        )
    return min(asked, usable)


def usable_processors(root: Path = ROOT) -> int:
    """Those that the affinity allows, or fewer where a cgroup's quota is less; a part of one counts as one.

    root: of the file system that holds /proc and /sys.
    """
    quota = cgroup_quota(root)
    allowed = len(_allowed())
    return allowed if quota is None else max(1, min(allowed, math.ceil(quota)))


def physical_cores(root: Path = ROOT) -> int:
    """Cores behind the processors that the affinity allows: of a core's several, one counts."""
    cores = set()
    for processor in _allowed():
        topology = root / f"sys/devices/system/cpu/cpu{processor}/topology"
        siblings = _text(topology / "core_cpus_list") or _text(topology / "thread_siblings_list")
        cores.add(siblings.strip() or str(processor))
    return len(cores)


def cgroup_quota(root: Path = ROOT) -> float | None:
    """The processors' time that this process's cgroups leave it, in processors; None for no limit.

    The least of the cgroup's own quota and those of all cgroups around it that can be seen, in versions 1 and
    2. A container's root may be the only one that can.
    """
    quotas = [
        quota
        for controllers, path in _memberships(root)
        for folder in _folders(root, controllers, path)
        if (quota := _quota(folder)) is not None
    ]
    return min(quotas, default=None)


def _allowed() -> set[int]:
    """Numbers of the processors that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return set(os.sched_getaffinity(0))
    return set(range(os.cpu_count() or 1))


def _memberships(root: Path) -> Iterator[tuple[str, str]]:
    """(controllers, path) of each cgroup of this process that can limit processors; "" for version 2."""
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, colon, path = rest.partition(":")
        if colon and (not controllers or "cpu" in controllers.split(",")):
            yield controllers, path


def _folders(root: Path, controllers: str, path: str) -> Iterator[Path]:
    """The cgroup's folder and those around it, up to where the hierarchy is mounted."""
    for mounted, at, kind, options in _mounts(root):
        wanted = "cpu" in options.split(",") if controllers else kind == "cgroup2"
        if not wanted or (controllers and kind != "cgroup"):
            continue
        top = root / at.lstrip("/")
        inside = os.path.relpath(path, mounted)
        folder = top if inside.startswith("..") else top / inside
        yield from (place for place in (folder, *folder.parents) if place.is_relative_to(top))


def _mounts(root: Path) -> Iterator[tuple[str, str, str, str]]:
    """(which folder of its file system, mounted where, type, the file system's options) of each mount."""
    for line in _text(root / "proc/self/mountinfo").splitlines():
        place, dash, source = line.partition(" - ")
        words, kinds = place.split(), source.split()
        if dash and len(words) >= 5 and len(kinds) >= 3:
            mounted, at = (word.replace("\\040", " ") for word in words[3:5])
            yield mounted, at, kinds[0], kinds[2]


def _quota(folder: Path) -> float | None:
    """Of one cgroup, in processors; None where it has no limit, or no file that says so."""
    words = _text(folder / "cpu.max").split() or [
        *_text(folder / "cpu.cfs_quota_us").split(),
        *_text(folder / "cpu.cfs_period_us").split(),
    ]
    if len(words) != 2 or not all(word.isdecimal() for word in words):  # "max", or -1 for no limit
        return None
    quota, period = map(int, words)
    return quota / period if quota > 0 and period > 0 else None


def _text(path: Path) -> str:
    """A file's content, "" where it cannot be read."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""

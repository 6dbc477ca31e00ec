"""How many processors this process may use: affinity, cgroup quotas, physical cores."""

import math
import os
import warnings
from pathlib import Path

from msdk_rt.artifact.notes import InputWarning
from msdk_rt.backends.cgroups import ROOT, cgroup_folders, text_of


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
        siblings = text_of(topology / "core_cpus_list") or text_of(topology / "thread_siblings_list")
        cores.add(siblings.strip() or str(processor))
    return len(cores)


def cgroup_quota(root: Path = ROOT) -> float | None:
    """The processors' time that this process's cgroups leave it, in processors; None for no limit.

    The least of the cgroup's own quota and those of all cgroups around it that can be seen, in versions 1 and
    2. A container's root may be the only one that can.
    """
    quotas = (_quota(folder) for folder in cgroup_folders("cpu", root))
    return min((quota for quota in quotas if quota is not None), default=None)


def _allowed() -> set[int]:
    """Numbers of the processors that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return set(os.sched_getaffinity(0))
    return set(range(os.cpu_count() or 1))


def _quota(folder: Path) -> float | None:
    """Of one cgroup, in processors; None where it has no limit, or no file that says so."""
    words = text_of(folder / "cpu.max").split() or [
        *text_of(folder / "cpu.cfs_quota_us").split(),
        *text_of(folder / "cpu.cfs_period_us").split(),
    ]
    if len(words) != 2 or not all(word.isdecimal() for word in words):  # "max", or -1 for no limit
        return None
    quota, period = map(int, words)
    return quota / period if quota > 0 and period > 0 else None

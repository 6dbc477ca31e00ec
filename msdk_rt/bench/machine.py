"""The machine that was measured: its name, memory, clock, energy, and its peak rates."""

import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

RAPL = Path("/sys/class/powercap")


def machine() -> str:
    """The processor's name and the widest vectors it has."""
    facts = _cpuinfo()
    if not facts:
        return platform.processor() or platform.machine()
    flags = facts.get("flags", "").split()
    vectors = next((name for name in ("avx512f", "avx2") if name in flags), platform.machine())
    name = facts.get("model name", platform.machine())
    return f"{name} family {facts.get('cpu family', '?')} model {facts.get('model', '?')} ({vectors})"


def clock_mhz() -> float | None:
    """The clock that the first core runs at now; None where the system does not say."""
    try:
        return float(_cpuinfo()["cpu MHz"])
    except (KeyError, ValueError):
        return None


def own_peak_memory() -> float | None:
    """Peak resident MB of this process so far; None where the system does not say (Windows)."""
    try:  # not getrusage first: its peak starts from that of the process that started this one
        status = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1e3 for line in status if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        if sys.platform == "win32":
            return None
        import resource

        scale = 1e6 if sys.platform == "darwin" else 1e3
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale


class EnergyMeter:
    """Energy of the processor packages between two moments, from the RAPL counters of Linux.

    problem: why it cannot be read, or None. The counters wrap about once an hour of full load.
    """

    def __init__(self, root: Path = RAPL):
        self._packages = sorted(root.glob("intel-rapl:[0-9]"))
        self.problem = None if self._packages else "the system has no RAPL counters"
        self._started = self._read()

    def joules(self) -> float | None:
        """Since the meter was made; None where it cannot be read."""
        if self._started is None or (now := self._read()) is None:
            return None
        pairs = zip(self._packages, self._started, now, strict=True)
        return sum((end - start) % _range(package) for package, start, end in pairs) / 1e6

    def _read(self) -> list[int] | None:
        if not self._packages:
            return None
        try:
            return [int((package / "energy_uj").read_text()) for package in self._packages]
        except OSError as error:
            self.problem = f"the RAPL counters cannot be read ({error.strerror}): they belong to root"
            return None


def peak_flops(seconds: float = 0.5) -> float:
    """float32 operations a second that NumPy's matrix product reaches on this machine."""
    side = 1024
    a = np.random.default_rng(0).standard_normal((side, side), np.float32)
    out = a @ a
    return 2 * side**3 / _best(lambda: np.matmul(a, a, out=out), seconds)


def peak_bandwidth(seconds: float = 0.5) -> float:
    """Bytes a second, read and written, of a copy too large for the caches, on one thread."""
    source = np.ones(1 << 25, np.float32)
    target = np.empty_like(source)
    return 2 * source.nbytes / _best(lambda: np.copyto(target, source), seconds)


def _best(run: Callable[[], object], seconds: float) -> float:
    best, begun = float("inf"), time.perf_counter()
    while time.perf_counter() - begun < seconds:
        started = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - started)
    return best


def _range(package: Path) -> int:
    return int((package / "max_energy_range_uj").read_text()) + 1


def _cpuinfo() -> dict[str, str]:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return {}
    return {
        key.strip(): value.strip() for key, value in (line.split(":", 1) for line in lines if ":" in line)
    }


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

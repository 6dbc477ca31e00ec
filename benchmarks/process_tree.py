"""A command's seconds from start to end, and the peak memory of all its processes together."""

import os
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import psutil

INTERVAL = 0.05  # seconds between two looks at the memory


@dataclass(frozen=True)
class Cost:
    """seconds: from start to end. peak: MB of the processes together, pages that they share counted once."""

    seconds: float
    peak: float


def run(command: Sequence[str], environment: Mapping[str, str], memory: bool = False) -> Cost:
    """Run a command to its end. memory: look at it, which takes time. Raises SystemExit where it fails."""
    began = time.perf_counter()
    process = subprocess.Popen(
        list(command),
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    peaks = [0.0]
    watcher = threading.Thread(target=_watch, args=(process.pid, peaks)) if memory else None
    if watcher:
        watcher.start()
    output, _ = process.communicate()
    seconds = time.perf_counter() - began
    if watcher:
        watcher.join()
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}:\n{output[-2000:]}")
    return Cost(seconds, max(peaks))


def _watch(pid: int, peaks: list[float]) -> None:
    """Append the memory of a process and all below it until it ends: proportional set sizes, Linux's own."""
    try:
        root = psutil.Process(pid)
        while root.is_running() and root.status() != psutil.STATUS_ZOMBIE:
            peaks.append(sum(map(_memory, [root, *root.children(recursive=True)])))
            time.sleep(INTERVAL)
    except psutil.NoSuchProcess:
        return


def _memory(process: psutil.Process) -> float:
    try:
        return float(process.memory_full_info().pss) / 1e6
    except psutil.Error:  # it ended since it was listed
        return 0.0

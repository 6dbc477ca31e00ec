"""Detects other programs in the way: how long this process waited for a processor, and when it rests."""

import time
from pathlib import Path

CONTENDED = 0.05  # share of waiting above which a measurement says more of the other programs
THREADS = Path("/proc/self/task")


class ProcessorWait:
    """How long the threads of this process were ready to run and had no processor, since this was made.

    From Linux's /proc/PID/task/TID/schedstat: nanoseconds on a processor, nanoseconds waiting for one.
    """

    def __init__(self, threads: Path = THREADS):
        self._threads = threads
        self._started = self._read()

    def share(self) -> float | None:
        """Of the time that the threads ran or wanted to run; None where the system does not say."""
        now = self._read()
        pairs = [(times, self._started.get(thread, (0, 0))) for thread, times in now.items()]
        ran, waited = (sum(times[i] - before[i] for times, before in pairs) for i in (0, 1))
        return waited / (ran + waited) if ran + waited else None

    def _read(self) -> dict[str, tuple[int, int]]:
        found = {}
        for file in self._threads.glob("*/schedstat"):
            try:
                ran, waited, _ = file.read_text().split()
            except (OSError, ValueError):  # a thread that has just ended, a system that does not count
                continue
            found[file.parent.name] = (int(ran), int(waited))
        return found


def settle(longest: float = 0.3) -> None:
    """Wait until this process's own threads rest, at most `longest` seconds.

    The threads of an inference library keep spinning for a while after a run (ONNX Runtime's: 45 ms), on
    processors that the next contestant needs.
    """
    until = time.perf_counter() + longest
    while time.perf_counter() < until:
        before = time.process_time()
        time.sleep(0.005)
        if time.process_time() - before < 0.001:
            return

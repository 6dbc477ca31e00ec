"""Whether memory stays flat while something runs again and again, and how much of it something takes."""

import os
import statistics
import threading
from collections.abc import Callable
from pathlib import Path

Reader = Callable[[], int]  # bytes in use now

SAMPLES = 40
ALLOWED = {"host": 16 << 20, "device": 4 << 20}  # what allocators keep back for themselves now and then
PEAK_EVERY = 0.002  # seconds between looks at a peak


def resident() -> int:
    """Bytes of this process in memory (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def check_flat(call: Callable[[int], object], runs: int, readers: dict[str, Reader]) -> dict[str, int]:
    """Calls it with 0, 1 .. runs - 1; the growth in bytes of each memory after the first quarter of them.

    readers: by the names in ALLOWED. Growth is from the median of the first third of the readings to that of
    the last. Raises AssertionError where it is more than is allowed.
    """
    warm_up = runs // 4
    every = -(-(runs - warm_up) // SAMPLES)
    readings = {name: [] for name in readers}
    for index in range(runs):
        call(index)
        if index >= warm_up and (index - warm_up) % every == 0:
            for name, reader in readers.items():
                readings[name].append(reader())
    growth = {}
    for name, values in readings.items():
        third = max(1, len(values) // 3)
        growth[name] = int(statistics.median(values[-third:]) - statistics.median(values[:third]))
        assert growth[name] <= ALLOWED[name], (
            f"{name} memory grew by {growth[name]} bytes over {runs - warm_up} runs, at most "
            f"{ALLOWED[name]} expected: {values[0]} to {values[-1]} bytes"
        )
    return growth


def peak_of(action: Callable[[], object], reader: Reader) -> int:
    """The highest reading while the action runs, over that before it, in bytes."""
    before = highest = reader()
    done = threading.Event()

    def watch():
        nonlocal highest
        while not done.wait(PEAK_EVERY):
            highest = max(highest, reader())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        action()
    finally:
        done.set()
        watcher.join()
    return max(highest, reader()) - before

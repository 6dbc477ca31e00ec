"""What does `--cluster` cost beside a plain run, and what does a second node gain?

Scans of 96 voxels a side through a small network, on nodes that have one processor of this machine each; the
plain run has one too. Times are of the whole command, from start to report. Beside them stands the processor
time of everything that took part, which other programs on the machine change less.
"""

import contextlib
import os
import resource
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.measure import record
from tests.runtime.cohort.folders import write_scan
from tests.support.ray_cluster import Machines, environment, ray_cluster, wait_until
from tests.support.small_model import write_artifact

FEW, CASES, ROUNDS = 20, 200, 3
SHAPE, WINDOW = (96, 96, 96), (32, 32, 32)
SETTINGS = ("--threads", "1", "--quiet", "--overwrite")
LOOK_EVERY = 0.5  # seconds; at most that much of each worker's time is missed
TICKS = os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Print and keep the answers. Few cases show what a start costs, many what each case does."""
    results = {count: _measure(count) for count in (FEW, CASES)}
    for count, (seconds, processor) in results.items():
        case = f"{count} scans of 96^3, {ROUNDS} rounds"
        record("cluster", case, seconds, "s")
        record("cluster", f"{case}, processor time", processor, "s")
        print(f"{case}: seconds {seconds}, processor seconds {processor}")
        print(f"  one node over a plain run: {seconds['one node'] / seconds['plain run']:.3f} of its time, "
              f"{processor['one node'] / processor['plain run']:.3f} of its processor time")  # fmt: skip
        print(f"  two nodes over one: {seconds['one node'] / seconds['two nodes']:.2f} times as fast")
    each = {
        name: (results[CASES][1][name] - results[FEW][1][name]) / (CASES - FEW)
        for name in ("plain run", "one node")
    }
    record("cluster", "each case beyond the start, processor time", each, "s")
    print(f"each case beyond the start: {each}, {each['one node'] / each['plain run']:.3f}")


def _measure(count: int) -> tuple[dict[str, float], dict[str, float]]:
    """Medians by contestant: seconds, and seconds of processor time."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "hooks").mkdir()
        (folder / "scans").mkdir()
        artifact = write_artifact(folder / "model.onnx", classes=4, window=WINDOW)
        for index in range(count):
            write_scan(folder / "scans" / f"{index:03d}.nii.gz", index, shape=SHAPE, dtype=np.int16)
        with ray_cluster(folder / "hooks") as machines:
            times = _rounds(machines, (artifact, folder / "scans", "-o", folder / "out", *SETTINGS))
    return (
        {name: float(np.median([wall for wall, _ in runs])) for name, runs in times.items()},
        {name: float(np.median([used for _, used in runs])) for name, runs in times.items()},
    )


def _rounds(machines: Machines, inputs: tuple) -> dict[str, list[tuple[float, float]]]:
    """{contestant: (seconds, seconds of processor time) of each round}, in turns."""
    first, second = sorted(os.sched_getaffinity(0))[:2]
    times: dict[str, list[tuple[float, float]]] = defaultdict(list)
    on_cluster = machines.command(*inputs)
    plain = [word for word in on_cluster if word not in ("--cluster", machines.address)]
    with _on({first}):
        machines.add()
    for _ in range(ROUNDS):
        with _on({first}):
            times["plain run"].append(_timed(plain, machines))
            times["one node"].append(_timed(on_cluster, machines))
        with _on({second}):
            added = machines.add()
        times["two nodes"].append(_timed(on_cluster, machines))
        machines.remove(added)
    return times


def _timed(command: list[str], machines: Machines) -> tuple[float, float]:
    """Seconds of a command, and the processor seconds of itself and of the workers that it had."""
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    driver = subprocess.Popen(
        command, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    ticks: dict[int, int] = {}
    while driver.poll() is None:
        ticks |= {pid: _ticks(pid) for pid in machines.workers()}
        with contextlib.suppress(subprocess.TimeoutExpired):
            driver.wait(LOOK_EVERY)
    seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    assert driver.returncode == 0
    wait_until(lambda: not machines.workers())
    own = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds, own + sum(ticks.values()) / TICKS


def _ticks(pid: int) -> int:
    try:
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:  # it has ended
        return 0
    return int(words[11]) + int(words[12])


@contextlib.contextmanager
def _on(processors: set[int]) -> Iterator[None]:
    """Processes that start in the block run on these processors."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, processors)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


if __name__ == "__main__":
    main()

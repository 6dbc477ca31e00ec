"""How does a window's cost change with threads, with windows at a time, and with its side?

MSD-KMamba of the base size with random weights. Twice the threads should take half the time; a batch saves
only what an inference costs beside its arithmetic; a voxel should cost the same whatever the side.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.measure import Contestant, record, time_in_turns
from benchmarks.network import THREADS, build_artifact, run_artifact

THREAD_COUNTS = (1, 2)
BATCHES = (1, 2, 4)
SIDES = (64, 96, 128, 160)
SIDE = 64
SECONDS, LEAST_RUNS = 4.0, 3


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        artifacts = {side: build_artifact(Path(name), side) for side in SIDES}
        _compare(
            f"threads, window {SIDE}^3",
            {f"{n} thread{'s' * (n > 1)}": run_artifact(artifacts[SIDE], SIDE, n) for n in THREAD_COUNTS},
            dict.fromkeys(THREAD_COUNTS, SIDE**3),
        )
        _compare(
            f"windows at a time, window {SIDE}^3, {THREADS} threads",
            {f"batch of {n}": run_artifact(artifacts[SIDE], SIDE, THREADS, n) for n in BATCHES},
            {n: n * SIDE**3 for n in BATCHES},
        )
        _compare(
            f"side of the window, {THREADS} threads",
            {f"{side}^3": run_artifact(artifacts[side], side, THREADS) for side in SIDES},
            {side: side**3 for side in SIDES},
        )


def _compare(case: str, runs: dict[str, Callable], voxels: dict[int, int]) -> None:
    """Time the runs alternately and keep the median of each over its voxels, in nanoseconds."""
    contestants = [Contestant(name, run, THREADS) for name, run in runs.items()]
    time_in_turns(contestants, SECONDS, LEAST_RUNS)
    figures = {
        contestant.name: 1e9 * contestant.median() / count
        for contestant, count in zip(contestants, voxels.values(), strict=True)
    }
    print(case)
    for contestant in contestants:
        milliseconds, nanoseconds = 1e3 * contestant.median(), figures[contestant.name]
        print(f"  {contestant.name:12} {milliseconds:9.1f} ms a run, {nanoseconds:.0f} ns a voxel")
    print()
    record("window_scaling", case, figures, "ns a voxel")

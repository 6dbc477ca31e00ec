"""Times contestants alternately, so that a drifting machine treats them alike; keeps every figure."""

import csv
import importlib.metadata
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from msdk_rt.bench.latency import Latency, take_turns
from msdk_rt.bench.machine import machine
from msdk_rt.bench.waiting import CONTENDED, ProcessorWait

RESULTS = Path(__file__).resolve().parent / "results"
PACKAGES = ("msdk_rt", "numpy", "onnxruntime", "torch")


@dataclass
class Contestant:
    """`run` does the work once. A contestant much slower than the others is run less often."""

    name: str
    run: Callable[[], object]
    threads: int
    seconds: list[float] = field(default_factory=list)

    def median(self) -> float:
        return float(np.median(self.seconds))


def measure(
    question: str,
    case: str,
    contestants: list[Contestant],
    *,
    work: float = 0.0,
    unit: str = "",
    seconds: float = 4.0,
    least_runs: int = 3,
) -> dict[str, float]:
    """Medians in seconds by contestant. The first one is ours: ratios are each contestant's median over its.

    `work` in `unit` is what one run does; the rate printed is per second and thread. Each contestant runs
    once to warm up, then at least `least_runs` times and until it has had `seconds`.
    """
    time_in_turns(contestants, seconds, least_runs)
    _print_table(case, contestants, work, unit)
    _append(question, case, contestants, work, unit)
    return {contestant.name: contestant.median() for contestant in contestants}


def time_in_turns(contestants: list[Contestant], seconds: float, least_runs: int) -> None:
    """Fill the contestants' seconds; print when other programs were in the way."""
    wait = ProcessorWait()
    take_turns(
        [contestant.run for contestant in contestants],
        [Latency(contestant.seconds) for contestant in contestants],
        warm_up=0.0,
        seconds=seconds,
        limit=float("inf"),
        least=least_runs,
    )
    if (share := wait.share() or 0.0) > CONTENDED:
        print(
            f"CONTENDED: threads waited {share:.0%} of their time for a processor; these figures tell little"
        )


def _print_table(case: str, contestants: list[Contestant], work: float, unit: str) -> None:
    print(case)
    width = max(len(contestant.name) for contestant in contestants)
    for contestant in contestants:
        p20, p50, p80 = np.percentile(contestant.seconds, [20, 50, 80]) * 1e3
        rate = f"{work / p50 * 1e3 / contestant.threads:8.2f} {unit}/s/thread" if work else ""
        ratio = contestant.median() / contestants[0].median()
        runs = len(contestant.seconds)
        print(f"  {contestant.name:{width}} {p50:10.1f} ms  ({p20:.1f} .. {p80:.1f}, {runs:3d} runs)  "
              f"{ratio:7.2f}x {rate}", flush=True)  # fmt: skip


def record(question: str, case: str, values: dict[str, float], unit: str) -> None:
    """Keep figures other than times: one row for each."""
    _write(question, ("case", "what", "value", "unit"),
           [(case, what, f"{value:.5g}", unit) for what, value in values.items()])  # fmt: skip


def _append(question: str, case: str, contestants: list[Contestant], work: float, unit: str) -> None:
    columns = ("case", "contestant", "threads", "runs", "p20_ms", "p50_ms", "p80_ms", "work", "unit")
    rows = []
    for contestant in contestants:
        percentiles = [f"{value * 1e3:.5g}" for value in np.percentile(contestant.seconds, [20, 50, 80])]
        runs = len(contestant.seconds)
        rows.append((case, contestant.name, contestant.threads, runs, *percentiles, f"{work:.6g}", unit))
    _write(question, columns, rows)


def _write(question: str, columns: tuple, rows: list[tuple]) -> None:
    append_rows(RESULTS / f"{question}.csv", columns, rows)


def append_rows(path: Path, columns: tuple, rows: list[tuple]) -> None:
    """Append to a CSV file that begins each row with its origin: date, commit, machine and versions."""
    path.parent.mkdir(exist_ok=True)
    new = not path.exists()
    origin = (time.strftime("%Y-%m-%d"), _commit(), machine(), os.cpu_count(), _versions())
    with path.open("a", newline="") as file:
        writer = csv.writer(file)
        if new:
            writer.writerow(("date", "commit", "machine", "cores", "versions", *columns))
        writer.writerows((*origin, *row) for row in rows)


def _commit() -> str:
    """The commit, with "-dirty" when a file differs other than results and the pages written from them."""
    written = (":(top,exclude,glob)**/results/**", ":(top,exclude)docs", ":(top,exclude)README.md")
    dirty = _git("status", "--porcelain", "--", ":/", *written)
    return _git("rev-parse", "--short", "HEAD") + ("-dirty" if dirty else "")


def _git(*arguments: str) -> str:
    command = ["git", *arguments]
    return subprocess.run(command, cwd=RESULTS.parent, capture_output=True, text=True).stdout.strip()


def _versions() -> str:
    return ", ".join(f"{package} {importlib.metadata.version(package)}" for package in PACKAGES)

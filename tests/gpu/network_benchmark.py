"""A whole network on whole volumes: contestants that take a volume on the host and give its labels there."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import msdk_rt
from msdk_rt.bench.latency import Latency, take_turns
from tests.gpu.memory import Reader, peak_of

Run = Callable[[np.ndarray], np.ndarray]
QUANTILES = ("p50_ms", "p90_ms", "p99_ms")


@dataclass(frozen=True)
class Contestant:
    """`open` gives a function from a volume (C, D, H, W) to its labels (D, H, W)."""

    name: str
    open: Callable[[], AbstractContextManager[Run]]


def segmenter(name: str, model: Path, **options) -> Contestant:
    @contextmanager
    def opened() -> Iterator[Run]:
        with msdk_rt.Segmenter(model, **options) as opened_segmenter:
            yield opened_segmenter.run

    return Contestant(name, opened)


def compare(
    contestants: Sequence[Contestant], volume: np.ndarray, memory: Reader, seconds: float
) -> list[dict[str, str | float]]:
    """Return a row for each contestant: latency, timed alternately for so many seconds each, and memory.

    mb: a contestant's peak, opened again, above the memory that its libraries keep once they are loaded.
    labels alike: with those of the first one. A quantile is empty where the sample is too small for it.
    """
    rows = [{"contestant": contestant.name} for contestant in contestants]
    reference = None
    for row, contestant in zip(rows, contestants, strict=True):
        labels = run_once(contestant, volume)
        row["mb"] = peak_of(lambda c=contestant: run_once(c, volume), memory) / 1e6
        reference = labels if reference is None else reference
        row["labels alike"] = float(np.mean(labels == reference))
    latencies = [Latency() for _ in contestants]
    with ExitStack() as stack:
        runs = [stack.enter_context(contestant.open()) for contestant in contestants]
        calls = [lambda run=run: run(volume) for run in runs]
        take_turns(calls, latencies, warm_up=0.0, seconds=seconds, limit=seconds)
    for row, latency in zip(rows, latencies, strict=True):
        row |= quantiles(latency)
    return rows


def run_once(contestant: Contestant, volume: np.ndarray) -> np.ndarray:
    with contestant.open() as run:
        return run(volume)


def quantiles(latency: Latency) -> dict[str, str | float]:
    """runs and QUANTILES, empty where the sample is too small."""
    found = latency.summary()
    return {"runs": found["runs"]} | {name: "" if found[name] is None else found[name] for name in QUANTILES}


def stages(
    models: dict[str, Path], scan: Path, providers: list[str] | None, volumes: int, seconds: float
) -> tuple[list[dict[str, str | float]], list[dict[str, str | float]]]:
    """Rows for a window's latency and for the stages of the scan, file to file, of each model in turn."""
    report = msdk_rt.benchmark(
        list(models.values()), inputs=[scan], volumes=volumes, providers=providers, seconds=seconds
    )
    windows, parts = [], []
    for name, contestant in zip(models, report.contestants, strict=True):
        windows.append({"contestant": name} | quantiles(contestant.window))
        volume = contestant.volume
        parts += [
            {"contestant": name, "stage": stage, "ms": 1e3 * spent} for stage, spent in volume.stages.items()
        ]
        parts.append({"contestant": name, "stage": "whole volume", "ms": 1e3 * volume.seconds})
    return windows, parts

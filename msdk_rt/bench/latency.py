"""Statistics of a sample of times, each only where the sample is large enough for it."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from msdk_rt.bench.waiting import settle

QUANTILES = (50, 90, 95, 99)
LEAST_BEYOND = 5  # samples that must lie beyond a quantile for it to be told
UNSTABLE = 0.025  # coefficient of variation above which a sample is called unstable
TYPICAL_RUNS = 100
TURN = 0.25  # seconds


@dataclass
class Latency:
    """Times of repeated runs of one thing, in seconds."""

    seconds: list[float] = field(default_factory=list)

    def quantile(self, percent: float) -> float | None:
        """In seconds, linearly interpolated; None where fewer than LEAST_BEYOND samples lie beyond it."""
        if len(self.seconds) * (100 - percent) / 100 < LEAST_BEYOND and percent != 50:
            return None
        return float(np.percentile(self.seconds, percent)) if self.seconds else None

    @property
    def variation(self) -> float | None:
        """Coefficient of variation: standard deviation (n - 1) over mean; None for fewer than two samples."""
        if len(self.seconds) < 2:
            return None
        return float(np.std(self.seconds, ddof=1) / np.mean(self.seconds))

    @property
    def unstable(self) -> bool:
        """Whether the times scatter too much for small differences to mean anything."""
        return self.variation is None or self.variation > UNSTABLE

    def summary(self) -> dict[str, Any]:
        """Plain numbers: runs, milliseconds by quantile (those the sample is large enough for), variation."""
        quantiles = {f"p{percent}_ms": self.quantile(percent) for percent in QUANTILES}
        return (
            {"runs": len(self.seconds)}
            | {name: None if value is None else 1e3 * value for name, value in quantiles.items()}
            | {"variation": self.variation, "unstable": self.unstable}
        )


def take_turns(
    runs: Sequence[Callable[[], object]],
    latencies: Sequence[Latency],
    *,
    warm_up: float,
    seconds: float,
    limit: float,
    least: int = TYPICAL_RUNS,
) -> None:
    """Time the runs alternately, so that a drifting machine treats them alike; latencies: get the times.

    Each runs for `warm_up` seconds first, at least once, untimed. A turn is TURN seconds of runs, or one that
    takes longer, and begins when the threads of the turn before rest. A run is done after `least` times that
    took `seconds` in all, or when it has had `limit` seconds. An interrupt keeps the times until then.
    """
    for run in runs:
        begun = time.perf_counter()
        run()
        while time.perf_counter() - begun < warm_up:
            run()

    def done(spent: float, count: int) -> bool:
        return spent >= limit or (spent >= seconds and count >= least)

    pending = list(zip(runs, latencies, strict=True))
    while pending:
        for run, latency in pending:
            if len(runs) > 1:
                settle()
            before, spent = sum(latency.seconds), 0.0
            while not spent or not (spent >= TURN or done(before + spent, len(latency.seconds))):
                started = time.perf_counter()
                run()
                latency.seconds.append(time.perf_counter() - started)
                spent += latency.seconds[-1]
        pending = [pair for pair in pending if not done(sum(pair[1].seconds), len(pair[1].seconds))]

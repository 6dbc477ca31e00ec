"""A GPU while something runs on it: clock, temperature, power, energy, memory, sampled in a thread."""

import os
import shutil
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from msdk_rt.bench.sensors.base import INTERVAL, Sample, Sensor, SensorProblem
from msdk_rt.bench.sensors.nvml import Nvml
from msdk_rt.bench.sensors.tegrastats import Tegrastats


@dataclass
class GpuState:
    """The state of a GPU during a measurement, or in `problem` the reason why it is unknown.

    clock_mhz: lowest, median, highest. temperature_c, memory_mb: highest. power_w: mean. limits: the share of
    the samples in which each of them held the clock down.
    """

    sensor: str = ""
    samples: int = 0
    clock_mhz: tuple[float, float, float] | None = None
    temperature_c: float | None = None
    power_w: float | None = None
    memory_mb: float | None = None
    limits: dict[str, float] = field(default_factory=dict)
    problem: str | None = None

    def as_text(self) -> str:
        """One line."""
        if self.problem:
            return f"GPU: {self.problem}"
        facts = [f"{self.sensor}, {self.samples} samples"]
        if self.clock_mhz:
            low, median, high = self.clock_mhz
            facts.append(f"clock {median:.0f} MHz ({low:.0f} to {high:.0f})")
        if self.temperature_c is not None:
            facts.append(f"up to {self.temperature_c:.0f} °C")
        if self.power_w is not None:
            facts.append(f"{self.power_w:.1f} W on average")
        if self.memory_mb is not None:
            facts.append(f"up to {self.memory_mb:.0f} MB in use by all programs")
        facts += [f"held down by {name} {share:.0%} of the time" for name, share in self.limits.items()]
        return "GPU: " + "; ".join(facts)


class GpuWatch:
    """Samples a GPU from entry to exit. Never fails: where there is no sensor, the state says why."""

    def __init__(self, index: int = 0):
        self._samples: list[Sample] = []
        self._thread: threading.Thread | None = None
        self._sensor: Sensor | None = None
        self._problem: str | None = None
        try:
            self._sensor = find_sensor(index)
        except SensorProblem as problem:
            self._problem = str(problem)

    def __enter__(self) -> "GpuWatch":
        if self._sensor:
            self._thread = threading.Thread(
                target=self._collect, args=(self._sensor,), name="msdk-rt GPU sensor", daemon=True
            )
            self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._thread and self._sensor:
            time.sleep(2 * INTERVAL)  # so that a sample lies behind whatever was measured last
            self._sensor.stop()
            self._thread.join()

    def joules(self, begin: float, end: float) -> float | None:
        """Energy between two moments of time.perf_counter(), by lines between the samples around them."""
        known = [(sample.at, sample.joules) for sample in self._samples if sample.joules is not None]
        if not known or not known[0][0] <= begin <= end <= known[-1][0]:
            return None
        at, joules = zip(*known, strict=True)
        return float(np.interp(end, at, joules) - np.interp(begin, at, joules))

    def state(self) -> GpuState:
        """Summarise the samples so far."""
        if not self._samples:
            return GpuState(problem=self._problem or f"{self._name()} said nothing yet")
        clocks = self._known("clock_mhz")
        powers = self._known("power_w")
        held = Counter(limit for sample in self._samples for limit in sample.limits)
        return GpuState(
            sensor=self._name(),
            samples=len(self._samples),
            clock_mhz=(min(clocks), float(np.median(clocks)), max(clocks)) if clocks else None,
            temperature_c=max(self._known("temperature_c"), default=None),
            power_w=float(np.mean(powers)) if powers else None,
            memory_mb=max(self._known("memory_mb"), default=None),
            limits={name: count / len(self._samples) for name, count in held.items()},
        )

    def _name(self) -> str:
        return self._sensor.name if self._sensor else ""

    def _known(self, name: str) -> list[float]:
        values = (getattr(sample, name) for sample in self._samples)
        return [value for value in values if value is not None]

    def _collect(self, sensor: Sensor) -> None:
        try:
            for sample in sensor.samples():
                self._samples.append(sample)
        except SensorProblem as problem:
            self._problem = str(problem)


def find_sensor(index: int) -> Sensor:
    """tegrastats where it is, which is on Jetsons, otherwise NVML for the CUDA device `index`.

    Raises SensorProblem.
    """
    if program := shutil.which("tegrastats"):
        return Tegrastats(program)
    return Nvml(index, os.environ.get("CUDA_VISIBLE_DEVICES"))


def on_gpu(providers: list[str]) -> bool:
    """Whether the first of the execution providers in use computes on an NVIDIA GPU."""
    return providers[0].startswith(("CUDA", "TensorRT", "Tensorrt", "NvTensorRT"))

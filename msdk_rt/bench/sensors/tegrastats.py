"""A Jetson's sensors through NVIDIA's program tegrastats. Never run on a Jetson yet.

The statistics of a line are described in the Jetson Linux Developer Guide under "tegrastats Utility". Rails
differ by board: some measure what the whole module draws, on the others its parts are added up.
"""

import re
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

from msdk_rt.bench.sensors.base import INTERVAL, Sample, SensorProblem

WHOLE_MODULE = ("VDD_IN", "POM_5V_IN")
PARTS = ("VDD_GPU_SOC", "VDD_CPU_CV", "VDD_GPU", "VDD_CPU_SOC_MSS", "VIN_SYS_5V0")
RAIL = re.compile(r"\b([A-Z][A-Z0-9_]+) (\d+)(?:mW)?/(?:\d+)(?:mW)?(?= |$)")
TEMPERATURE = re.compile(r"\b([A-Za-z]\w*)@(-?\d+(?:\.\d+)?)C\b")
CLOCK = re.compile(r"\bGR3D_FREQ \d+%@\[?([\d,]+)")
MEMORY = re.compile(r"\bRAM (\d+)/\d+MB")
OFF = -256.0  # the temperature of what has no power


class Tegrastats:
    """The program, running from the first sample to stop(). name: with the rails whose power is meant."""

    def __init__(self, program: str):
        self._program, self._process, self._stopped = program, None, threading.Event()
        self.name = "Jetson (tegrastats)"

    def samples(self) -> Iterator[Sample]:
        """One a line; energy is power times time, summed. Raises SensorProblem where it does not start."""
        command = [self._program, "--interval", str(round(1e3 * INTERVAL))]
        try:
            self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        except OSError as error:
            raise SensorProblem(f"tegrastats does not start: {error.strerror}") from error
        if self._stopped.is_set():
            self._process.terminate()
        joules, before = 0.0, None
        with self._process:
            for line in self._process.stdout:
                sample, rails = parse(line, time.perf_counter())
                if sample.power_w is not None:
                    self.name = f"Jetson (tegrastats, {' + '.join(rails)})"
                    joules += sample.power_w * (sample.at - before) if before is not None else 0.0
                    before = sample.at
                    sample = replace(sample, joules=joules)
                yield sample

    def stop(self) -> None:
        self._stopped.set()
        if self._process:
            self._process.terminate()


def parse(line: str, at: float) -> tuple[Sample, list[str]]:
    """One line of tegrastats, without energy, and the rails that its power is the sum of.

    Of two numbers of a rail the first is now, the second a mean. A clock is the highest of the GPU's, which
    not every release tells.
    """
    rails = {name: int(now) for name, now in RAIL.findall(line)}
    counted = next(([name] for name in WHOLE_MODULE if name in rails), None)
    counted = counted or [name for name in PARTS if name in rails]
    degrees = {name.lower(): float(value) for name, value in TEMPERATURE.findall(line)}
    known = [degrees[name] for name in ("gpu", "tj") if degrees.get(name, OFF) > OFF]
    clock, memory = CLOCK.search(line), MEMORY.search(line)
    return Sample(
        at=at,
        clock_mhz=max(map(float, clock[1].split(","))) if clock else None,
        temperature_c=known[0] if known else None,
        power_w=sum(rails[name] for name in counted) / 1e3 if counted else None,
        memory_mb=float(memory[1]) if memory else None,
    ), counted

"""The protocol of a GPU's sensor, and the error where there is none."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

INTERVAL = 0.1  # seconds between two samples


@dataclass(frozen=True)
class Sample:
    """A sensor's reading at time.perf_counter() == `at`; None for a value that it does not have.

    memory_mb: in use on the device, by all programs. joules: since some fixed moment. limits: reasons for a
    lowered clock, such as "power cap".
    """

    at: float
    clock_mhz: float | None = None
    temperature_c: float | None = None
    power_w: float | None = None
    memory_mb: float | None = None
    joules: float | None = None
    limits: tuple[str, ...] = ()


class Sensor(Protocol):
    """name: of the device and of what is read. samples: one every INTERVAL until stop() is called."""

    name: str

    def samples(self) -> Iterator[Sample]: ...

    def stop(self) -> None: ...


class SensorProblem(Exception):
    """There is no sensor; the message says why."""

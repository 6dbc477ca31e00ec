"""The results of a benchmark, as tables for people and as JSON and CSV for programs."""

import csv
import dataclasses
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from msdk_rt.bench.latency import Latency
from msdk_rt.bench.profile import OpCost
from msdk_rt.bench.sensors.watch import GpuState
from msdk_rt.bench.waiting import CONTENDED
from msdk_rt.errors import OutputError

TRANSFERS = ("upload", "download")  # stages between host and GPU

Row = tuple[str, ...]


@dataclass
class VolumeTime:
    """One whole volume (D, H, W), its windows, seconds in all and by stage, joules if they can be read.

    began: by time.perf_counter(). joules: of the processor packages; gpu_joules: of what the report's GPU
    sensor measures.
    """

    shape: tuple[int, ...]
    windows: int
    began: float
    seconds: float
    stages: dict[str, float]
    joules: float | None
    energy_problem: str | None
    gpu_joules: float | None = None

    @property
    def without_transfers(self) -> float | None:
        """Seconds without copies between host and GPU; None where no stage is one."""
        copies = [self.stages[name] for name in TRANSFERS if name in self.stages]
        return self.seconds - sum(copies) if copies else None


@dataclass
class Contestant:
    """One model on one set of providers, with all its measurements. threads: as Segmenter.threads."""

    name: str
    path: Path
    providers: list[str]
    precision: str
    window_voxels: tuple[int, int, int]
    batch_size: int
    threads: int | None
    window: Latency
    volumes: list[VolumeTime] = field(default_factory=list)
    ops: list[OpCost] = field(default_factory=list)

    @property
    def windows_per_second(self) -> float | None:
        """By the median inference."""
        median = self.window.quantile(50)
        return self.batch_size / median if median else None

    @property
    def volume(self) -> VolumeTime | None:
        """The volume of median time, the lower of two."""
        ordered = sorted(self.volumes, key=lambda volume: volume.seconds)
        return ordered[(len(ordered) - 1) // 2] if ordered else None

    def volume_text(self, volume: VolumeTime) -> str:
        """A sentence on a volume."""
        shape = " x ".join(map(str, volume.shape))
        energy = f"{volume.joules:.0f} J" if volume.joules is not None else volume.energy_problem
        if volume.gpu_joules is not None:
            energy = f"GPU {volume.gpu_joules:.0f} J, processor {energy}"
        words = (
            f"{self.name}: a volume of {shape} in {volume.seconds:.2f} s, {volume.windows} windows, "
            f"{3600 / volume.seconds:.0f} volumes/h; energy: {energy}"
        )
        if (rest := volume.without_transfers) is not None:
            words += f"; transfers to and from the GPU included, {rest:.2f} s without"
        return words

    def dear_ops(self) -> list[OpCost]:
        """Those that take more than half a percent of the time."""
        total = sum(op.seconds for op in self.ops)
        return [op for op in self.ops if op.seconds > total / 200]

    def op_rows(self, heading: str, indent: str = "") -> list[Row]:
        """A table of the dear ops: a heading, then a row for each op type."""
        total = sum(op.seconds for op in self.ops)
        rows: list[Row] = [(heading, "share", "ms", "nodes", "GFLOP/s", "GB/s")]
        for op in self.dear_ops():
            flops = number(op.flops / op.seconds / 1e9) if op.flops else "-"
            rate = number(op.bytes / op.seconds / 1e9)
            share = f"{op.seconds / total:.1%}"
            rows.append((indent + op.op, share, number(1e3 * op.seconds), str(op.nodes), flops, rate))
        return rows


@dataclass
class Report:
    """Contestants, the first of which the others are compared with, and the machine they ran on.

    waited: share of their time that this process's threads waited for a processor while windows were timed.
    gpu: its state while windows and volumes were timed; None where no contestant runs on one. peak_flops and
    peak_bandwidth: what NumPy reaches, in operations and bytes a second. interrupted: some of the measurement
    is missing.
    """

    machine: str
    cores: int
    clock_mhz: float | None
    versions: dict[str, str]
    settings: dict[str, Any]
    contestants: list[Contestant] = field(default_factory=list)
    waited: float | None = None
    gpu: GpuState | None = None
    peak_flops: float | None = None
    peak_bandwidth: float | None = None
    peak_memory_mb: float | None = None
    interrupted: bool = False

    def ratio(self, contestant: Contestant) -> float | None:
        """Its median window over the first contestant's: above 1 is slower."""
        first, own = self.contestants[0].window.quantile(50), contestant.window.quantile(50)
        return own / first if own and first else None

    @property
    def remarks(self) -> list[str]:
        """Return the remarks that a reader needs beside the figures, one a line."""
        lines = [self.gpu.as_text()] if self.gpu else []
        if self.waited is not None and self.waited > CONTENDED:
            lines.append(
                f"contended: this process's threads waited {self.waited:.0%} of their time for a processor; "
                "close other programs, or give --threads"
            )
        if self.interrupted:
            lines.append("interrupted: what is here was measured until then, the rest is missing")
        return lines

    def as_json(self) -> dict[str, Any]:
        """Everything, in JSON's types. Times of windows as quantiles and one by one, in milliseconds."""
        entries = dataclasses.asdict(self) | {"date": time.strftime("%Y-%m-%dT%H:%M:%S%z")}
        for entry, contestant in zip(entries["contestants"], self.contestants, strict=True):
            entry["path"] = str(contestant.path)
            entry["window"] = contestant.window.summary() | {
                "times_ms": [round(1e3 * seconds, 4) for seconds in contestant.window.seconds]
            }
            entry["windows_per_second"] = contestant.windows_per_second
            entry["ratio"] = self.ratio(contestant)
            for volume, timed in zip(entry["volumes"], contestant.volumes, strict=True):
                volume["seconds_without_transfers"] = timed.without_transfers
        return entries

    def as_text(self) -> str:
        """Tables for the terminal."""
        lines = [self.heading(), "", *self._windows(), *self._volumes(), *self._ops()]
        return "\n".join(lines + ([""] if self.remarks else []) + self.remarks)

    def append_csv(self, path: Path) -> None:
        """Append one row a contestant; a new file gets the header. Raises OutputError."""
        rows = [self._row(contestant) for contestant in self.contestants]
        try:
            with path.open("a+", newline="") as file:
                writer = csv.DictWriter(file, rows[0].keys())
                file.seek(0)
                header = file.readline().strip()
                if header and header != ",".join(rows[0]):
                    raise OutputError(f"{path} has other columns than a benchmark: choose another file")
                if not header:
                    writer.writeheader()
                writer.writerows(rows)
        except OSError as error:
            if isinstance(error, OutputError):
                raise
            raise OutputError(f"cannot write {path}: {error.strerror or error}") from error

    def heading(self) -> str:
        """The machine, its clock, versions, threads."""
        clock = f", {self.clock_mhz / 1e3:.1f} GHz now" if self.clock_mhz else ""
        versions = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        counts = sorted({contestant.threads for contestant in self.contestants if contestant.threads})
        threads = ", ".join(map(str, counts)) or "the library's"
        return f"{self.machine}, {self.cores} cores{clock}; {versions}; threads: {threads}"

    def window_rows(self) -> list[Row]:
        """A table of the windows' times: a heading, then a row for each contestant that was timed."""
        rows: list[Row] = [("window", "p50 ms", "p90", "p95", "p99", "spread", "runs", "windows/s", "ratio")]
        for contestant in self.contestants:
            summary, ratio = contestant.window.summary(), self.ratio(contestant)
            if not summary["runs"]:
                continue
            spread = "-" if summary["variation"] is None else f"{summary['variation']:.1%}"
            rows.append(
                (
                    contestant.name,
                    *(number(summary[f"p{percent}_ms"]) for percent in (50, 90, 95, 99)),
                    spread + (" unstable" if summary["unstable"] else ""),
                    str(summary["runs"]),
                    number(contestant.windows_per_second),
                    "-" if ratio is None else f"{ratio:.2f}x",
                )
            )
        return rows

    def _windows(self) -> list[str]:
        rows = self.window_rows()
        return columns(rows) if len(rows) > 1 else ["no window was timed"]

    def _volumes(self) -> list[str]:
        lines = []
        for contestant in self.contestants:
            if not (volume := contestant.volume):
                continue
            lines += ["", contestant.volume_text(volume)]
            lines += columns(
                [
                    (f"  {stage}", f"{seconds:.3f} s", f"{seconds / volume.seconds:.1%}")
                    for stage, seconds in volume.stages.items()
                ]
            )
        if self.peak_memory_mb:
            lines += ["", f"peak memory of the process: {self.peak_memory_mb:.0f} MB"]
        return lines

    def _ops(self) -> list[str]:
        lines = []
        for contestant in self.contestants:
            if any(op.seconds for op in contestant.ops):
                lines += ["", *columns(contestant.op_rows(f"ops of {contestant.name}", indent="  "))]
        return lines

    def _row(self, contestant: Contestant) -> dict[str, Any]:
        volume = contestant.volume
        return (
            {
                "date": time.strftime("%Y-%m-%d"),
                "machine": self.machine,
                "cores": self.cores,
                "versions": " ".join(f"{name}={version}" for name, version in self.versions.items()),
                "threads": contestant.threads,
                "model": contestant.path.name,
                "provider": contestant.providers[0],
                "precision": contestant.precision,
                "window": "x".join(map(str, contestant.window_voxels)),
                "batch": contestant.batch_size,
            }
            | contestant.window.summary()
            | {
                "windows_per_second": contestant.windows_per_second,
                "ratio": self.ratio(contestant),
                "volume": "x".join(map(str, volume.shape)) if volume else None,
                "volume_s": volume.seconds if volume else None,
                "volume_s_without_transfers": volume.without_transfers if volume else None,
                "joules": volume.joules if volume else None,
                "gpu_joules": volume.gpu_joules if volume else None,
                "gpu_clock_mhz": self.gpu.clock_mhz[1] if self.gpu and self.gpu.clock_mhz else None,
                "gpu_temperature_c": self.gpu.temperature_c if self.gpu else None,
                "gpu_power_w": self.gpu.power_w if self.gpu else None,
                "gpu_memory_mb": self.gpu.memory_mb if self.gpu else None,
                "waited": self.waited,
                "peak_memory_mb": self.peak_memory_mb,
                "interrupted": self.interrupted,
            }
        )


def number(value: float | None) -> str:
    """Three significant digits; a dash where there is nothing to say."""
    if value is None:
        return "-"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def columns(rows: list[Row]) -> list[str]:
    """Rows as text, the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            [
                row[0].ljust(widths[0]),
                *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)),
            ]
        )
        for row in rows
    ]

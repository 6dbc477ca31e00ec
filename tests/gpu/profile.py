"""What Nsight Compute counts of each kernel. It watches `python -m tests.gpu.profile FOLDER`.

Clocks stay as they are: the times are those of the machine as it is used, and belong beside the benchmark's.
"""

import csv
import io
import math
import re
import shutil
import sys
from pathlib import Path

import numpy as np

from tests.gpu.benchmark import KAN_TYPES, LENGTHS, conv_case, kan_call, scan_case
from tests.gpu.device import Device
from tests.gpu.environment import run
from tests.gpu.op_checks import ConvCall, Ops, rounded
from tests.gpu.report import Skip

USUAL = "/opt/nvidia/nsight-compute/*/ncu"
PEAK = ".avg.pct_of_peak_sustained_active"
STALLED = "smsp__average_warps_issue_stalled_(.*)_per_issue_active.ratio"
COUNTERS = {
    "us": "gpu__time_duration.sum",
    "instructions": "smsp__inst_executed.sum",
    "issue %": f"smsp__issue_active{PEAK}",
    "special functions %": f"sm__inst_executed_pipe_xu{PEAK}",
    "fma %": f"sm__inst_executed_pipe_fma{PEAK}",
    "alu %": f"sm__inst_executed_pipe_alu{PEAK}",
    "lsu %": f"sm__inst_executed_pipe_lsu{PEAK}",
    "memory %": "gpu__dram_throughput.avg.pct_of_peak_sustained_elapsed",
    "memory MB": "dram__bytes_read.sum",
    "warps %": f"sm__warps_active{PEAK}",
    "registers": "launch__registers_per_thread",
}
OPTIONS = ("--set", "full", "--csv", "--page", "raw", "--clock-control", "none", "--print-units", "base")


def profile(folder: Path, raw: Path) -> list[dict[str, str | float]]:
    """A row of COUNTERS for each launch, and the three reasons why its warps wait most.

    folder: of the libraries. raw: the file that keeps all that was counted, as CSV.
    """
    counted = run(
        [find_ncu(), *OPTIONS, "--log-file", raw, sys.executable, "-m", "tests.gpu.profile", folder]
    )
    if not raw.is_file():
        raise RuntimeError(f"Nsight Compute wrote nothing: {counted[-2000:]}")
    return rows_of(raw.read_text())


def find_ncu() -> str:
    """On PATH or where NVIDIA's packages put it. Raises Skip."""
    found = shutil.which("ncu") or next(map(str, sorted(Path("/").glob(USUAL[1:]), reverse=True)), None)
    if found is None:
        raise Skip(f"ncu is neither on PATH nor {USUAL}: it comes with the CUDA toolkit (Nsight Compute)")
    return found


def rows_of(printed: str) -> list[dict[str, str | float]]:
    """Rows from the CSV that Nsight Compute writes: a header, the units, a line a launch."""
    lines = [line for line in printed.splitlines() if line.startswith('"')]
    reader = csv.DictReader(io.StringIO("\n".join(lines)))
    launches = [line for line in reader if line["ID"]]  # the units have none
    return [row_of(launch) for launch in launches]


def row_of(launch: dict[str, str]) -> dict[str, str | float]:
    name = re.sub(r"^void |<?unnamed>::|\(.*$", "", launch["Kernel Name"])
    row: dict[str, str | float] = {"kernel": name, "grid": launch["Grid Size"], "block": launch["Block Size"]}
    row |= {short: number(launch.get(counter)) for short, counter in COUNTERS.items()}
    row["us"], row["memory MB"] = row["us"] / 1e3, row["memory MB"] / 1e6
    return row | {"waits for": waits(launch)}


def waits(launch: dict[str, str]) -> str:
    """The reasons why a warp is not issued, those that cost most first, in warps an issued instruction."""
    told = {found[1]: number(launch[name]) for name in launch if (found := re.fullmatch(STALLED, name))}
    reasons = {reason: warps for reason, warps in told.items() if not math.isnan(warps)}
    largest = sorted(reasons, key=reasons.__getitem__, reverse=True)[:3]
    return ", ".join(f"{reason} {reasons[reason]:.2f}" for reason in largest)


def number(text: str | None) -> float:
    """NaN for a counter that the profiler does not have, or could not read."""
    try:
        return float((text or "").replace(",", ""))
    except ValueError:
        return math.nan


def once(ops: Ops) -> None:
    """One call of each op at the benchmark's largest size."""
    length = LENGTHS[-1]
    scan = rounded(scan_case(length).inputs(), ("u", "x_dbl", "z"), np.float16)
    ops.scan(scan, "forward,backward", 1.0).enqueue()
    conv = rounded(conv_case(length).inputs(), ("x",), np.float16)
    ConvCall(ops, **conv, directions="forward,backward").enqueue()
    for op in KAN_TYPES:
        kan_call(ops, op, length).enqueue()
    ops.device.runtime.check_synchronize()


if __name__ == "__main__":
    once(Ops(Device(Path(sys.argv[1]))))

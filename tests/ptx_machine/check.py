"""Runs the checks of `make gpu-check` on the PTX machine, which needs nvcc and no GPU.

    python -m tests.ptx_machine.check      (make ptx-check)

The op grid and the volume kernels against the oracle and NumPy, repeats, a CUDA graph; planted faults;
mutants. PTX for other architectures is compared with what was run, and run as well where it differs.
"""

import argparse
import re
import sys
from collections import Counter
from pathlib import Path

import numpy as np

from tests.gpu import volume_checks
from tests.gpu.check import CASE, TOLERANCE
from tests.gpu.device import Device
from tests.gpu.op_checks import Ops, check_graph, check_grid, check_repeats
from tests.gpu.report import Report
from tests.ptx_machine.build import (
    ARCHITECTURE,
    COMPILED,
    PLUGINS,
    SOURCES,
    BuildError,
    build,
    host_object,
    nvcc,
    ptx_of,
)
from tests.ptx_machine.every_kernel import EVERY_KERNEL
from tests.ptx_machine.examine import NOTICED, Examiner
from tests.ptx_machine.faults import FAULTS, report_of
from tests.ptx_machine.mutations import some_mutants

OTHER_ARCHITECTURES = (80, 90, 120)
NO_NVCC = 3


def grid(device: Device, dtype: type[np.floating], updates: int) -> str:
    return f"{check_grid(Ops(device), dtype, updates)} cases agree with the oracle: {TOLERANCE[dtype]}"


def volume(device: Device) -> str:
    return f"{sum(check(device) for check in volume_checks.CHECKS)} cases agree with NumPy"


def repeats(device: Device, times: int) -> str:
    return f"{check_repeats(Ops(device), CASE, times)} runs in other orders of threads, bit for bit the same"


def graph(device: Device) -> str:
    return f"{check_graph(Ops(device), CASE)} replays give what one call gives"


def faults(folder: Path) -> str:
    """Every planted fault, each of which must be reported in its own words."""
    missed = []
    for number, fault in enumerate(FAULTS):
        report = report_of(fault.source, fault.plant(folder / f"fault-{number}"))
        if not report or not re.search(fault.reported, report):
            missed.append(f"{fault.name} ({report})")
    if missed:
        raise AssertionError(f"not reported as expected: {'; '.join(missed)}")
    return f"{len(FAULTS)} of {len(FAULTS)} reported"


def mutants(folder: Path, report: Report, count: int, seed: int) -> str:
    """Kernels with one instruction changed at random: how many the checks notice, and why not the others."""
    verdicts: Counter[str] = Counter()
    for source in EVERY_KERNEL:
        examiner = Examiner(source, folder)
        for mutant in some_mutants(ptx_of(host_object(source, ARCHITECTURE)) or "", count, seed):
            verdict = examiner.verdict_on(mutant)
            verdicts[verdict] += 1
            report.add(
                "mutants",
                {
                    "kernels": str(source.relative_to(PLUGINS)),
                    "line": mutant.line,
                    "was": mutant.was,
                    "is now": mutant.is_now.strip(),
                    "verdict": verdict,
                },
            )
    total, found = sum(verdicts.values()), verdicts.pop(NOTICED)
    others = ", ".join(f"{many} {verdict}" for verdict, many in verdicts.most_common())
    return f"{found} of {total} noticed (seed {seed}); {others}"


def same_ptx(architecture: int) -> bool:
    """Whether the PTX for an architecture is that of the one that is run, but for the line that names it."""

    def ptx(source: Path, of: int) -> str:
        return re.sub(r"\.target sm_\d+", "", ptx_of(host_object(source, of)) or "")

    kernels = (
        path for name in ("check_ops", "msdk_volume") for path in SOURCES[name] if path.suffix == ".cu"
    )
    return all(ptx(path, ARCHITECTURE) == ptx(path, architecture) for path in kernels)


def other_architecture(folder: Path, architecture: int, updates: int) -> str:
    if same_ptx(architecture):
        return f"its PTX is that of compute_{ARCHITECTURE}"
    device = Device(build(folder / f"compute_{architecture}", architecture=architecture))
    return "; ".join([volume(device), *(grid(device, dtype, updates) for dtype in (np.float32, np.float16))])


def check(report: Report, arguments: argparse.Namespace) -> int:
    if not nvcc():
        report.skip("everything", "nvcc is not on PATH: install the CUDA toolkit, or set CUDACXX to it")
        return NO_NVCC
    folder = COMPILED / "check"
    if not report.run("build", lambda: f"libraries in {build(folder, jobs=arguments.jobs)}"):
        return 1
    device = Device(folder)
    report.run("ops in float32", lambda: grid(device, np.float32, arguments.updates))
    report.run("ops in float16", lambda: grid(device, np.float16, arguments.updates))
    report.run("volume kernels", lambda: volume(device))
    report.run("repeats", lambda: repeats(device, arguments.repeats))
    report.run("CUDA graph", lambda: graph(device))
    report.run("planted faults", lambda: faults(folder))
    report.run("mutants", lambda: mutants(folder, report, arguments.mutants, arguments.seed))
    for other in OTHER_ARCHITECTURES:
        report.run(
            f"compute_{other}", lambda other=other: other_architecture(folder, other, arguments.updates)
        )
    return int(report.failed)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--updates", type=int, default=100_000, help="most state updates of a scan's case")
    parser.add_argument("--repeats", type=int, default=20, help="runs that must agree bit for bit")
    parser.add_argument("--mutants", type=int, default=10, help="of the PTX of each source")
    parser.add_argument("--seed", type=int, default=1, help="of the choice of mutants")
    parser.add_argument("--jobs", type=int, default=2, help="compilers at a time")
    report = Report("make ptx-check")
    try:
        code = check(report, parser.parse_args())
    except BuildError as error:
        sys.exit(str(error))
    report.finish(COMPILED / "report")
    return code


if __name__ == "__main__":
    sys.exit(main())

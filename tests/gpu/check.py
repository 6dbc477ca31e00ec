"""`make gpu-check`: builds the kernels for this machine's GPU, holds them to the oracle and times them.

Needs nvcc, CMake, a C++ compiler and NumPy; uses what else it finds, and says what it skips and why. Writes
summary.md and a CSV for each of its tables into build/gpu-check/report.

exit codes: 0 every step passed or was skipped, 1 a step failed, 3 all was built, but there is no GPU.
"""

import argparse
import ctypes
import os
import shutil
import sys
from pathlib import Path

import numpy as np

from msdk_rt.errors import MsdkError
from tests.gpu import onnxruntime_checks, profile, volume_checks
from tests.gpu.benchmark import Missing, Timing, benchmark, comparison, row_of, scan_case
from tests.gpu.device import Device, DeviceError
from tests.gpu.environment import run, software
from tests.gpu.marked_tests import run_marked
from tests.gpu.network_files import add_arguments
from tests.gpu.op_checks import Ops, check_graph, check_grid, check_repeats, check_scan
from tests.gpu.rates import Rates
from tests.gpu.report import Report, Skip
from tests.support.cases import ConvCase, KanCase, ScanCase

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "gpu-check"
SANITIZERS = ("memcheck", "racecheck", "synccheck", "initcheck")
PACKAGES = (
    "numpy",
    "onnxruntime-gpu",
    "onnxruntime",
    "torch",
    "monai",
    "mamba-ssm",
    "causal-conv1d",
    "tensorrt-rtx-cu13",
)
LARGE = 32768  # tokens of the scan at the width of a real stage that is held to the oracle
GRID_UPDATES = 50_000_000
NO_GPU = 3
TOLERANCE = {np.float32: "relative error 2e-6", np.float16: "rtol 3e-3, atol 5e-3 of y's size"}
CASE = ScanCase(
    B=1, K=2, D=33, L=5001, N=16, R=3, directions="forward,backward", has_z=True, scale=1.0, seed=41,
    extreme=False,
)  # fmt: skip
CONV = ConvCase(B=1, K=2, D=5, L=777, W=4, directions="forward,backward", seed=42)
KAN = KanCase(B=1, C=7, O=5, L=333, G=8, grid_min=-1.0, grid_max=1.0, seed=43)


def build(jobs: int, built: Path | None) -> str:
    """Every CUDA library and program of plugins/ for this machine's GPU, or for all of them by their PTX.

    built: a folder with those that another machine built for this one.
    """
    if built:
        found = sorted(path.name for path in built.glob("gpu_*/*"))
        if not found:
            raise FileNotFoundError(f"--built: expected libraries in {built / 'gpu_libraries'}, found none")
        return f"on another machine: {', '.join(found)}"
    if not shutil.which("cmake"):
        raise FileNotFoundError("cmake is not on PATH: install CMake 3.22 or newer")
    configure = ["cmake", "-S", ROOT / "plugins", "-B", BUILD, "-DCMAKE_BUILD_TYPE=Release"]
    configure += ["-DMSDK_CUDA=ON", "-DMSDK_GPU_CHECK=ON"]
    printed = run(configure)
    run(["cmake", "--build", BUILD, "--parallel", str(jobs)])
    return next(line for line in printed.splitlines() if "CUDA kernels" in line).removeprefix("-- ")


def describe(device: Device) -> dict[str, str]:
    """The GPU, its driver and the CUDA runtime. Raises DeviceError where there is none."""
    name, driver, runtime = ctypes.create_string_buffer(256), ctypes.c_int(), ctypes.c_int()
    device.runtime.check_describe(
        name, ctypes.c_size_t(len(name)), ctypes.byref(driver), ctypes.byref(runtime)
    )
    return {
        "GPU": name.value.decode(),
        "driver": f"CUDA {version_of(driver.value)}",
        "runtime": f"CUDA {version_of(runtime.value)}",
    }


def version_of(number: int) -> str:
    """13020 -> 13.2, as cudaRuntimeGetVersion counts."""
    return f"{number // 1000}.{number % 1000 // 10}"


def grid(ops: Ops, dtype) -> str:
    return f"{check_grid(ops, dtype, GRID_UPDATES)} cases agree with the oracle: {TOLERANCE[dtype]}"


def large(ops: Ops, dtype) -> str:
    case = scan_case(LARGE)
    check_scan(ops, case, dtype)
    return f"L = {case.L}, D = {case.D}, N = {case.N}: {TOLERANCE[dtype]}"


def volume(device: Device) -> str:
    return f"{sum(check(device) for check in volume_checks.CHECKS)} cases agree with NumPy"


def sanitize(tool: str, folder: Path) -> str:
    """A small grid under one tool of compute-sanitizer."""
    sanitizer = shutil.which("compute-sanitizer")
    if not sanitizer:
        raise Skip("compute-sanitizer is not on PATH: it comes with the CUDA toolkit")
    command = [
        sanitizer,
        "--tool",
        tool,
        "--error-exitcode",
        "9",
        sys.executable,
        "-m",
        "tests.gpu.op_checks",
        folder,
    ]
    return f"clean: {', '.join(run(command).splitlines()[-3:])}"


def programs(folder: Path) -> str:
    """The plugins' own programs, which enqueue on device memory; each exits with 0."""
    found = sorted(path for path in folder.glob("*") if os.access(path, os.X_OK))
    if not found:
        raise Skip("no program of the TensorRT plugin was built for a GPU")
    for path in found:
        run([path])
    return ", ".join(path.name for path in found)


def timings(ops: Ops, report: Report, left_out: tuple[str, ...]) -> str:
    """A table of the kernels' times beside their floors and their peers', but for those left out."""
    results, rates = list(benchmark(ops, left_out=left_out)), Rates.of(ops.device)
    rows = [row_of(result, rates) for result in results if isinstance(result, Timing)]
    for row in rows:
        report.add("kernels", row)
    return comparison(rows, [result for result in results if isinstance(result, Missing)])


def counters(folder: Path, report: Report, to: Path) -> str:
    """A table of what Nsight Compute counts of the kernels."""
    to.mkdir(parents=True, exist_ok=True)
    rows = profile.profile(folder, to / "ncu.csv")
    for row in rows:
        report.add("counters", row)
    return ", ".join(f"{row['kernel']} {row['us']:.0f} us" for row in rows)


def networks(device: Device, report: Report, arguments: argparse.Namespace) -> None:
    """The steps on whole networks, where msdk_rt and what it needs are installed."""
    try:
        from tests.gpu.network_steps import Networks
    except (ImportError, MsdkError) as error:
        report.skip("whole networks", f"{error}: pip install 'msdk_rt[gpu]', or run `make setup`")
        return
    Networks(device, BUILD, arguments, report).run()


def check(report: Report, arguments: argparse.Namespace) -> int:
    report.machine.update(software(PACKAGES))
    if not report.run("build", lambda: build(arguments.jobs, arguments.built)):
        return 1
    built = arguments.built or BUILD
    folder = built / "gpu_libraries"
    device = Device(folder)
    try:
        report.machine.update(describe(device))
    except DeviceError as error:
        report.skip("everything on a GPU", f"CUDA finds no GPU to run on ({error})")
        return NO_GPU
    ops = Ops(device)
    report.run("ops in float32", lambda: grid(ops, np.float32))
    report.run("ops in float16", lambda: grid(ops, np.float16))
    report.run("a large scan in float32", lambda: large(ops, np.float32))
    report.run("a large scan in float16", lambda: large(ops, np.float16))
    report.run("volume kernels", lambda: volume(device))
    report.run("repeats", lambda: f"{check_repeats(ops, CASE, arguments.repeats)} runs bit for bit the same")
    report.run("CUDA graph", lambda: f"{check_graph(ops, CASE)} replays give what one call gives")
    for tool in SANITIZERS:
        report.run(tool, lambda tool=tool: sanitize(tool, folder))
    report.run("TensorRT plugin", lambda: programs(built / "gpu_programs"))
    library = built / "libmsdk_onnxruntime.so"
    cases = onnxruntime_checks.cases_of(CASE, CONV, KAN)
    nodes = onnxruntime_checks.check_nodes
    report.run("ONNX Runtime nodes", lambda: f"{nodes(library, cases)} nodes agree with the oracle on CUDA")
    report.run("tests for a GPU", run_marked)
    report.run("benchmark", lambda: timings(ops, report, tuple(arguments.no_peer)))
    report.run("profile", lambda: counters(folder, report, arguments.report))
    networks(device, report, arguments)
    return int(report.failed)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_arguments(parser)
    parser.add_argument("--repeats", type=int, default=10_000, help="runs that must agree bit for bit")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="compilers at a time")
    parser.add_argument(
        "--built",
        nargs="?",
        type=Path,
        const=BUILD,
        metavar="FOLDER",
        help="take libraries that another machine built from here (%(const)s)",
    )
    parser.add_argument("--only", nargs="+", default=[], metavar="WORDS", help="run steps named like these")
    parser.add_argument(
        "--no-peer", nargs="+", default=[], metavar="NAME", help="not to time, such as torch.compile"
    )
    parser.add_argument("--report", type=Path, default=BUILD / "report", help="folder to write (%(default)s)")
    arguments = parser.parse_args()
    report = Report("make gpu-check", arguments.report, tuple(arguments.only))
    code = check(report, arguments)
    report.finish(arguments.report)
    return code


if __name__ == "__main__":
    sys.exit(main())

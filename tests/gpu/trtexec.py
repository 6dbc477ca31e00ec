"""NVIDIA's trtexec on a plan of ours, with our plugins: that it loads, and the latency it measures."""

import json
import os
import re
import shutil
from pathlib import Path

from msdk_rt.backends.libraries import plugin_library
from msdk_rt.bench.latency import Latency
from tests.gpu.environment import run
from tests.gpu.network_benchmark import quantiles
from tests.gpu.report import Skip

USUAL = ("/usr/src/tensorrt/bin", "/usr/local/tensorrt/bin", "/opt/tensorrt/bin")
LATENCIES = {"trtexec, compute": ("computeMs",), "trtexec, with transfers": ("inMs", "computeMs", "outMs")}


def find_trtexec() -> Path:
    """On PATH, under TENSORRT_ROOT or TRT_ROOT, or where NVIDIA's packages put it. Raises Skip."""
    roots = [Path(os.environ[name]) / "bin" for name in ("TENSORRT_ROOT", "TRT_ROOT") if name in os.environ]
    places = os.pathsep.join([os.environ.get("PATH", ""), *map(str, roots), *USUAL])
    found = shutil.which("trtexec", path=places)
    if found is None:
        raise Skip(
            f"trtexec is neither on PATH nor in {', '.join([*map(str, roots), *USUAL])}: it comes with "
            "TensorRT's own packages (libnvinfer-bin), not with pip's"
        )
    return Path(found)


def time_engine(engine: Path, window: tuple[int, ...], seconds: int, folder: Path) -> list[dict]:
    """Rows of latency of one window (C, D, H, W), with trtexec's defaults. Raises RuntimeError, Skip."""
    program = find_trtexec()
    check_version(run([program, "--help"]))
    times = folder / f"{engine.stem}-trtexec.json"
    run(
        [
            program,
            f"--loadEngine={engine}",
            f"--dynamicPlugins={plugin_library()}",
            f"--shapes=image:{'x'.join(map(str, (1, *window)))}",
            f"--duration={seconds}",
            f"--exportTimes={times}",
        ]
    )
    return rows_of(json.loads(times.read_text()))


def check_version(said: str) -> None:
    """Raises Skip unless a trtexec that says this is of the TensorRT that Python has: plans fit one alone."""
    from msdk_export.engine.builder import VERSION

    major, minor, patch = map(int, VERSION.split(".")[:3])
    own, found = f"v{major}{minor:02}{patch:02}", re.search(r"TensorRT (v\d+)", said)
    if found and found[1] != own:
        raise Skip(f"trtexec is of TensorRT {found[1]}, Python's is {own}: a plan fits one alone")


def rows_of(times: list[dict[str, float]]) -> list[dict]:
    """Turn the file of --exportTimes, an entry a run in milliseconds, into rows of latency."""
    return [
        {"contestant": name}
        | quantiles(Latency([sum(entry[part] for part in parts) / 1e3 for entry in times]))
        for name, parts in LATENCIES.items()
    ]

"""Engines of a checkpoint by the public interface: exported, compared, timed, refused."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np

import msdk_rt
from msdk_rt.backends.libraries import plugin_library
from msdk_rt.errors import MsdkError
from tests.gpu.memory import resident
from tests.gpu.network_benchmark import quantiles
from tests.gpu.segmenter_checks import (
    check_agreement,
    check_growth,
    check_other_version,
    check_refusals,
    check_threads,
)
from tests.gpu.trtexec import find_trtexec, time_engine

LEAST = {"fp32": 0.9999, "fp16": 0.999}  # share of voxels labelled as by PyTorch in float32
MAJORS = ("10", "11")
MAX_BATCH = 4


def tensorrt_version() -> str:
    """Of a TensorRT that can build. Raises MsdkError that says what to install."""
    from msdk_export.engine.builder import VERSION

    if VERSION.split(".")[0] not in MAJORS:
        raise MsdkError(f"TensorRT {' or '.join(MAJORS)} is needed, this is {VERSION}: pip install tensorrt")
    return VERSION


def compute_capability() -> str:
    from msdk_rt.backends import cuda

    return cuda.compute_capability()


def missing() -> list[str]:
    """A sentence for each of TensorRT, a GPU and our plugins that is not here."""
    reasons = map(problem, (tensorrt_version, compute_capability, plugin_library))
    return [reason for reason in reasons if reason]


def problem(probe: Callable[[], object]) -> str:
    """Return the sentence that the probe fails with, or nothing."""
    try:
        probe()
    except MsdkError as error:
        return str(error)
    return ""


def describe() -> dict[str, str]:
    """TensorRT and the GPU, by what a bug report calls them."""
    from cuda.bindings import runtime

    (properties,) = answer_of(runtime.cudaGetDeviceProperties(0))
    (driver,) = answer_of(runtime.cudaDriverGetVersion())
    return {
        "TensorRT": tensorrt_version(),
        "GPU": f"{properties.name.decode()}, compute capability {compute_capability()}",
        "driver": f"CUDA {driver // 1000}.{driver % 1000 // 10}",
    }


def device_used() -> int:
    """Bytes of device memory in use, by whichever process."""
    from cuda.bindings import runtime

    available, total = answer_of(runtime.cudaMemGetInfo())
    return total - available


def answer_of(call: tuple) -> tuple:
    """Return the values of a call of CUDA without its status, which must be success."""
    status, *values = call
    assert status == 0, f"CUDA says {status.name}"
    return tuple(values)


class Engine:
    """One engine and what is checked of it. `work`: a folder for it; `expected`: PyTorch's labels."""

    def __init__(self, precision: str, work: Path, volume: np.ndarray, expected: np.ndarray):
        self.path, self._precision = work / f"{precision}.engine", precision
        self._volume, self._expected = volume, expected

    def export(self, checkpoint: Path) -> str:
        from msdk_export import EngineOptions

        options = EngineOptions(max_batch=MAX_BATCH, timing_cache=self.path.with_name("timing.cache"))
        manifest = msdk_rt.export(
            checkpoint, self.path, precision=self._precision, engine=options, progress=True
        )
        built = ", ".join(f"{name} {value}" for name, value in manifest.engine.items())
        return f"{self.path.stat().st_size} bytes; {built}; parity {manifest.parity['real, engine']}"

    def labels(self, onnxruntime_labels: np.ndarray) -> str:
        """Against PyTorch and against ONNX Runtime, in batches of one and of several windows."""
        least, said = LEAST[self._precision], []
        for batch_size in (1, MAX_BATCH):
            with msdk_rt.Segmenter(self.path, batch_size=batch_size) as segmenter:
                found = segmenter.run(self._volume)
            against = check_agreement(found, self._expected, least)
            check_agreement(found, onnxruntime_labels, least)
            said.append(f"batch {batch_size}: {against} than by PyTorch")
        return "; ".join(said)

    def threads(self) -> str:
        with msdk_rt.Segmenter(self.path, batch_size=2) as segmenter:
            return check_threads(segmenter)

    def growth(self, windows: int) -> str:
        readers = {"host": resident, "device": device_used}
        with msdk_rt.Segmenter(self.path, batch_size=MAX_BATCH) as segmenter:
            return check_growth(segmenter, MAX_BATCH, windows, readers)

    def refusals(self) -> str:
        version = re.sub(r"\s+", " ", check_other_version(self.path))
        return f"{check_refusals(self.path)}; another TensorRT: {version}"

    def latency(self, seconds: float) -> list[dict]:
        """A row for a window, from host to host."""
        report = msdk_rt.benchmark(self.path, volumes=0, seconds=seconds)
        return [{"contestant": "msdk_rt, host to host"} | quantiles(report.contestants[0].window)]

    def trtexec(self, seconds: int) -> list[dict]:
        """Rows of trtexec on the same plan. Raises Skip where there is none."""
        find_trtexec()
        with msdk_rt.Segmenter(self.path) as segmenter:
            window = (len(segmenter.manifest.channels), *segmenter.manifest.window)
        return time_engine(self.path, window, seconds, self.path.parent)

"""The demo's network on ONNX Runtime's CUDA provider and on TensorRT-RTX: right, flat, and how fast."""

import argparse
from contextlib import contextmanager
from pathlib import Path

from msdk_rt.imaging.volumes import read_volume
from msdk_rt.segmenter import Segmenter
from tests.gpu import network_benchmark, onnxruntime_checks
from tests.gpu.array_checks import check_arrays
from tests.gpu.device import Device
from tests.gpu.environment import run
from tests.gpu.memory import resident
from tests.gpu.network_benchmark import Contestant
from tests.gpu.network_files import ROOT, file_of
from tests.gpu.onnxruntime_checks import CUDA
from tests.gpu.report import Report
from tests.gpu.rtx_checks import check_rtx
from tests.gpu.segmenter_checks import check_growth, check_threads

LEAST = {"float32": 0.9999, "float16": 0.999}  # share of voxels labelled as by the CPU in float32
BATCH_SIZE = 4


class Networks:
    """The steps on whole networks. build: where the libraries were built that they are to run with."""

    def __init__(self, device: Device, build: Path, arguments: argparse.Namespace, report: Report):
        self._device, self._build, self._arguments, self._report = device, build, arguments, report

    def run(self) -> None:
        report = self._report
        if not self._arguments.built:
            report.run("install", self.install)
        for precision in LEAST:
            report.run(f"ONNX Runtime in {precision}", lambda p=precision: self.labels(p))
            report.run(f"threads in {precision}", lambda p=precision: self.threads(p))
            report.run(f"arrays in {precision}", lambda p=precision: self.arrays(p))
            report.run(f"memory in {precision}", lambda p=precision: self.growth(p))
            report.run(f"TensorRT-RTX in {precision}", lambda p=precision: check_rtx(self.model(p)))
        report.run("whole network", self.stages)
        report.run("whole volume", self.volumes)

    def model(self, precision: str) -> Path:
        return file_of(self._arguments, "model" if precision == "float32" else "half_model")

    def scan(self) -> Path:
        return file_of(self._arguments, "scan")

    def install(self) -> str:
        """The libraries built here into msdk_rt/lib, as `make setup` does."""
        run(["cmake", "--install", self._build, "--prefix", ROOT / "msdk_rt"])
        return "msdk_rt/lib"

    def labels(self, precision: str) -> str:
        model, exact, scan = self.model(precision), self.model("float32"), self.scan()
        return onnxruntime_checks.check_demo(model, exact, scan, LEAST[precision])

    def threads(self, precision: str) -> str:
        with self.on_cuda(self.model(precision), batch_size=2) as segmenter:
            return check_threads(segmenter)

    def arrays(self, precision: str) -> str:
        with self.on_cuda(self.model(precision), batch_size=BATCH_SIZE) as segmenter:
            return check_arrays(segmenter)

    def growth(self, precision: str) -> str:
        with self.on_cuda(self.model(precision), batch_size=BATCH_SIZE) as segmenter:
            readers = {"host": resident, "device": self._device.used}
            return check_growth(segmenter, BATCH_SIZE, self._arguments.windows, readers)

    def on_cuda(self, model: Path, **options) -> Segmenter:
        onnxruntime_checks.require_cuda_provider()
        return Segmenter(model, providers=CUDA, **options)

    def stages(self) -> str:
        """Tables of a window's latency and of the scan's stages, file to file."""
        onnxruntime_checks.require_cuda_provider()
        models = {f"msdk_rt {precision}": self.model(precision) for precision in LEAST}
        seconds = min(10.0, self._arguments.seconds)
        windows, parts = network_benchmark.stages(models, self.scan(), CUDA[:1], 3, seconds)
        for table, rows in (("window", windows), ("stages", parts)):
            for row in rows:
                self._report.add(table, row)
        return in_words(windows)

    def volumes(self) -> str:
        """A table of the scan's latency from host to host, timed alternately with PyTorch under MONAI."""
        onnxruntime_checks.require_cuda_provider()
        contestants = [
            network_benchmark.segmenter(f"msdk_rt {precision}", self.model(precision), providers=CUDA)
            for precision in LEAST
        ]
        peer = pytorch(file_of(self._arguments, "checkpoint"))
        contestants += [peer] if isinstance(peer, Contestant) else []
        volume = read_volume([self.scan()]).data
        rows = network_benchmark.compare(contestants, volume, self._device.used, self._arguments.seconds)
        for row in rows:
            self._report.add("volume", row)
        return in_words(rows) + ("" if isinstance(peer, Contestant) else f"; no PyTorch: {peer}")


def pytorch(checkpoint: Path) -> Contestant | str:
    """PyTorch in float16 on CUDA under MONAI's sliding window, or why it is not there."""
    try:
        import torch

        from tests.gpu.pytorch_peer import PyTorchSegmenter
    except ImportError as error:
        return f"{error.name} is not installed: pip install 'msdk_rt[train]'"
    if not torch.cuda.is_available():
        return "this PyTorch has no CUDA"

    @contextmanager
    def opened():
        yield PyTorchSegmenter(checkpoint, "cuda", half=True).run
        torch.cuda.empty_cache()

    return Contestant(PyTorchSegmenter(checkpoint, "cuda", half=True).name, opened)


def in_words(rows: list[dict]) -> str:
    return ", ".join(f"{row['contestant']} {row['p50_ms']:.1f} ms" for row in rows)

"""`make verify-tensorrt`: engines of the demo's checkpoint, built, compared and timed on this machine.

For a machine with TensorRT 10 or 11 and a GPU. Steps that need neither run anywhere. Needs `make setup`;
writes summary.md and latency.csv into build/verify-tensorrt/report, to be pasted into a bug report whole.

exit codes: 0 every step passed or was skipped, 1 a step failed, 3 there is no TensorRT or no GPU to run on.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

import msdk_rt
from tests.gpu.environment import software
from tests.gpu.memory import resident
from tests.gpu.report import Report
from tests.gpu.segmenter_checks import check_agreement, check_growth, check_refusals, check_threads
from tests.gpu.tensorrt_checks import LEAST, Engine, describe, missing

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "verify-tensorrt"
CHECKPOINT = ROOT / "export" / "weights" / "demo.safetensors"
PACKAGES = ("msdk_rt", "numpy", "torch", "monai", "onnx", "onnxruntime-gpu", "onnxruntime", "cuda-bindings")
NOTHING_TO_RUN_ON = 3
PORTABLE_WINDOWS = 40
PYTORCH, ONNX_RUNTIME = "PyTorch", "ONNX Runtime"


def check(report: Report, arguments: argparse.Namespace) -> int:
    report.machine.update(software(PACKAGES))
    work = arguments.work
    work.mkdir(parents=True, exist_ok=True)
    volume = read(arguments.scan)
    labels = portable(report, arguments, volume)
    if reasons := missing():
        for reason in reasons:
            report.skip("everything on TensorRT", reason)
        print(f"this was {sys.executable}: run {Path(__file__).name} with the Python that has TensorRT")
        return int(report.failed) or NOTHING_TO_RUN_ON
    if set(labels) != {PYTORCH, ONNX_RUNTIME}:
        return int(report.failed)
    report.machine.update(describe())
    for precision in arguments.precisions:
        engine = Engine(precision, work, volume, labels[PYTORCH])
        if not report.run(f"{precision}: export", lambda e=engine: e.export(arguments.checkpoint)):
            continue
        report.run(f"{precision}: labels", lambda e=engine: e.labels(labels[ONNX_RUNTIME]))
        report.run(f"{precision}: threads", engine.threads)
        report.run(f"{precision}: memory", lambda e=engine: e.growth(arguments.windows))
        report.run(f"{precision}: refusals", engine.refusals)
        for name, measure in (("latency", engine.latency), ("trtexec", engine.trtexec)):
            report.run(
                f"{precision}: {name}", lambda p=precision, m=measure: timed(report, p, m(arguments.seconds))
            )
    return int(report.failed)


def portable(report: Report, arguments: argparse.Namespace, volume: np.ndarray) -> dict[str, np.ndarray]:
    """Run the steps that need neither TensorRT nor a GPU.

    Returns the labels by PYTORCH and ONNX_RUNTIME, if nothing failed.
    """
    model, labels = arguments.work / "model.onnx", {}

    def export() -> str:
        manifest = msdk_rt.export(arguments.checkpoint, model, progress=True)
        return f"{model.stat().st_size} bytes; parity {manifest.parity['real'] or manifest.parity['random']}"

    def pytorch() -> str:
        from tests.gpu.pytorch_peer import PyTorchSegmenter

        peer = PyTorchSegmenter(arguments.checkpoint, "cpu")
        labels[PYTORCH] = peer.run(volume)
        return f"{peer.name}: labels of {labels[PYTORCH].shape}"

    def onnxruntime() -> str:
        with msdk_rt.Segmenter(model, providers=["CPUExecutionProvider"]) as segmenter:
            labels[ONNX_RUNTIME] = segmenter.run(volume)
        against = check_agreement(labels[ONNX_RUNTIME], labels[PYTORCH], LEAST["fp32"])
        return f"{against} than by PyTorch"

    def threads() -> str:
        with msdk_rt.Segmenter(model, providers=["CPUExecutionProvider"], batch_size=2) as segmenter:
            return check_threads(segmenter)

    def growth() -> str:
        with msdk_rt.Segmenter(model, providers=["CPUExecutionProvider"], batch_size=2) as segmenter:
            return check_growth(segmenter, 2, PORTABLE_WINDOWS, {"host": resident})

    for step, action in (
        ("model.onnx: export", export),
        ("PyTorch under MONAI: labels", pytorch),
        ("ONNX Runtime: labels", onnxruntime),
        ("ONNX Runtime: threads", threads),
        ("ONNX Runtime: memory", growth),
        ("model.onnx: refusals", lambda: check_refusals(model)),
    ):
        report.run(step, action)
    return labels


def timed(report: Report, precision: str, rows: list[dict]) -> str:
    """Adds the rows to the report's table; their medians in words."""
    for row in rows:
        report.add("latency", {"engine": precision, **row})
    return ", ".join(f"{row['contestant']} {row['p50_ms']:.3f} ms" for row in rows)


def read(scan: Path | None) -> np.ndarray:
    """The volume (1, D, H, W) of a NIfTI file; default: the demo's, nilearn's MNI152 T1 at 1 mm."""
    if scan is None:
        from msdk_export.synthetic.template import load_template

        return load_template().t1.numpy()[None].astype(np.float32)
    from msdk_rt.imaging.volumes import read_volume

    return read_volume([scan]).data


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT, help="of one channel (%(default)s)")
    parser.add_argument("--scan", type=Path, help="NIfTI file to segment (default: MNI152 T1 at 1 mm)")
    parser.add_argument("--precisions", nargs="+", choices=LEAST, default=list(LEAST))
    parser.add_argument("--windows", type=int, default=2500, help="of the memory check (%(default)s)")
    parser.add_argument("--seconds", type=int, default=10, help="that a latency is timed for (%(default)s)")
    parser.add_argument("--work", type=Path, default=BUILD, help="folder for models and report (%(default)s)")
    arguments = parser.parse_args(words)
    report = Report("make verify-tensorrt", arguments.work / "report")
    code = check(report, arguments)
    report.finish(arguments.work / "report")
    return code


if __name__ == "__main__":
    sys.exit(main())

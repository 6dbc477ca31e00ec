"""The files that the checks of whole networks take, and how each is made."""

import argparse
from pathlib import Path

from tests.gpu.report import Skip

ROOT = Path(__file__).resolve().parents[2]
HOW_TO_MAKE = {
    "model": "run `make demo`, or name one with --model",
    "half_model": "run `msdk-rt export export/weights/demo.safetensors demo/model_fp16.onnx --precision "
    "fp16`, or name one with --half-model",
    "scan": "run `make demo`, or name one with --scan",
    "checkpoint": "name one with --checkpoint",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    demo = ROOT / "demo"
    weights = ROOT / "export" / "weights" / "demo.safetensors"
    parser.add_argument("--model", type=Path, default=demo / "model.onnx", help="in float32 (%(default)s)")
    parser.add_argument(
        "--half-model", type=Path, default=demo / "model_fp16.onnx", help="in float16 (%(default)s)"
    )
    parser.add_argument(
        "--checkpoint", type=Path, default=weights, help="of both, for PyTorch's time (%(default)s)"
    )
    parser.add_argument("--scan", type=Path, default=demo / "t1.nii.gz", help="to segment (%(default)s)")
    parser.add_argument("--windows", type=int, default=10_000, help="that memory must stay flat over")
    parser.add_argument(
        "--seconds", type=float, default=150.0, help="that a volume is timed for; p99 takes 500"
    )


def file_of(arguments: argparse.Namespace, name: str) -> Path:
    """The file of an argument. Raises Skip that says how to make it."""
    path = getattr(arguments, name)
    if not path.is_file():
        raise Skip(f"{path} is missing: {HOW_TO_MAKE[name]}")
    return path

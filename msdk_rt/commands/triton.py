"""`msdk-rt triton`: its options."""

import argparse
from pathlib import Path

from msdk_rt.commands import opening_arguments
from msdk_rt.commands.command import Command

EXAMPLES = """examples:
  msdk-rt triton model.onnx repository/
  msdk-rt triton model.onnx repository/ --name brain --seen-at /models --gpu
  msdk-rt triton model.engine repository/ --name brain

Writes two models: NAME takes whole volumes (C, D, H, W) and gives labels, on Triton's Python backend, where
msdk_rt must be installed; NAME_network takes windows and gives logits, on the ONNX Runtime or TensorRT
backend, with the library of the msdk ops beside it."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model", type=Path, help="model.onnx or model.engine, its manifest beside it, or model.msdk"
    )
    parser.add_argument("repository", type=Path, help="a folder; models of other names in it stay")
    parser.add_argument("--name", help="of the models (default: the name of the model's file)")
    parser.add_argument(
        "--seen-at",
        type=Path,
        metavar="FOLDER",
        help="where Triton sees the repository, in its container for example (default: where it is)",
    )
    parser.add_argument("--gpu", action="store_true", help="run the network of a model.onnx on a GPU")
    parser.add_argument(
        "--max-batch", type=int, default=4, metavar="N", help="windows of one request (default: 4)"
    )
    opening_arguments.add_windows(parser)
    opening_arguments.add_threads(parser)


def run(options: argparse.Namespace) -> int:
    from msdk_rt.inference.settings import count_of, overlap_of, threads_of
    from msdk_rt.triton.repository import Plan, write_repository

    settings = {
        "overlap": overlap_of(options.overlap),
        "batch_size": count_of("batch_size", options.batch_size),
        "threads": threads_of(options.threads),
    }
    seen_at = options.seen_at or options.repository.resolve()
    plan = Plan(
        options.name or options.model.stem,
        seen_at,
        options.gpu,
        count_of("max_batch", options.max_batch),
        settings,
    )
    for folder in write_repository(options.model, options.repository, plan):
        print(folder)
    return 0


COMMAND = Command("triton", "write a model repository for NVIDIA Triton", EXAMPLES, add_arguments, run)

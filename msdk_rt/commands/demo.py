"""`msdk-rt demo`: its options."""

import argparse
from pathlib import Path

from msdk_rt.commands.command import Command

EXAMPLES = "examples:\n  msdk-rt demo\n  msdk-rt demo --out demo --weights my_checkpoint.safetensors"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--out", type=Path, default=Path("demo"), help="folder for the results (default: demo)"
    )
    parser.add_argument(
        "--weights", type=Path, help="a checkpoint with one channel instead of the demo's own"
    )
    parser.add_argument(
        "--threads", type=int, help="threads of one inference (default: one per physical core)"
    )


def run(options: argparse.Namespace) -> int:
    from msdk_rt.commands.demonstration import run_demo

    run_demo(options.out, options.weights, options.threads)
    return 0


COMMAND = Command(
    "demo",
    "export a small network and segment the MNI152 brain: labels, picture, timings",
    EXAMPLES,
    add_arguments,
    run,
)

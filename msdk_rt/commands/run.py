"""`msdk-rt run`: its options, and its report."""

import argparse
import json
from pathlib import Path

from msdk_rt.artifact.vocabulary import BLENDS
from msdk_rt.commands.command import Command

EXAMPLES = """examples:
  msdk-rt run model.onnx t1.nii.gz -o labels.nii.gz
  msdk-rt run model.onnx t1.nii.gz t1ce.nii.gz t2.nii.gz flair.nii.gz -o labels.nii.gz
  msdk-rt run model.onnx scans/ -o results/ --mirror 0 1 2

Files of one case are given in the channel order that `msdk-rt info model.onnx` shows. In a folder, files of a
model with several channels are named <case>_0000.nii.gz, <case>_0001.nii.gz, ... in that order.
Existing results are kept, so that the same command resumes an interrupted run."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=Path, help="model.onnx, its manifest beside it")
    parser.add_argument("inputs", type=Path, nargs="+", help="files, or one folder")
    parser.add_argument(
        "-o", "--output", type=Path, required=True, help="a .nii.gz or .nii file for one case, or a folder"
    )
    parser.add_argument(
        "--overlap", type=float, default=0.5, help="fraction that neighbouring windows share (default: 0.5)"
    )
    parser.add_argument("--blend", choices=BLENDS, help="window weights (default: the manifest's)")
    parser.add_argument("--batch-size", type=int, default=1, help="windows per inference (default: 1)")
    parser.add_argument(
        "--mirror",
        type=int,
        nargs="+",
        default=[],
        metavar="AXIS",
        help="average over flips of axes among 0 1 2",
    )
    parser.add_argument(
        "--threads", type=int, help="threads of one inference (default: one per physical core)"
    )
    parser.add_argument(
        "--provider", action="append", metavar="NAME", help="ONNX Runtime execution provider; repeat in order"
    )
    parser.add_argument(
        "--probabilities",
        action="store_true",
        help="also write <name>_probabilities.nii.gz, one map per label",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="segment again, replacing all of an earlier result"
    )
    parser.add_argument("--json", action="store_true", help="report on stdout as JSON")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def run(options: argparse.Namespace) -> int:
    from msdk_rt.commands.batch import segment_cases

    report = segment_cases(options)
    if options.json:
        print(json.dumps(report, indent=2))
    return 1 if any("error" in case for case in report["cases"]) else 0


COMMAND = Command("run", "segment NIfTI volumes, each in its own space", EXAMPLES, add_arguments, run)

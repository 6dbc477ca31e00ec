"""`msdk-rt run`: its options."""

import argparse
from pathlib import Path

from msdk_rt.commands import batch_arguments
from msdk_rt.commands.command import Command

EXAMPLES = """examples:
  msdk-rt run model.onnx t1.nii.gz -o labels.nii.gz
  msdk-rt run model.onnx t1.nii.gz t1ce.nii.gz t2.nii.gz flair.nii.gz -o labels.nii.gz
  msdk-rt run model.onnx scans/ -o results/ --mirror 0 1 2
  msdk-rt run model.onnx scans/ -o results/ --part 3/50       # one job of an array of 50
  msdk-rt run model.onnx imagesTs/ -o results/ --save-probabilities   # for nnUNetv2_ensemble

Files of one case are given in the channel order that `msdk-rt info model.onnx` shows. In a folder, files are
named <case>_0000.nii.gz, <case>_0001.nii.gz, ... in that order; a model with one channel also takes
<case>.nii.gz.

Every entry of a folder is a case, or left out with a line that says why; then the exit code is 1. An output
folder gets report.json (all of them), volumes.tsv (voxels and millilitres of each label) and qc.html (a page
with pictures in three planes, failures and unusual volumes first).

Beside each result, <name>.nii.gz.json says what made it: model, settings, input, versions. A result that is
there is kept if the same model, settings and input (size and time) made it, so an interrupted run is resumed
by the same command; else it is made again. A file that no such record describes is never replaced without
--overwrite."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=Path, help="model.onnx, its manifest beside it")
    parser.add_argument("inputs", type=Path, nargs="+", help="files, or one folder")
    parser.add_argument(
        "-o", "--output", type=Path, required=True, help="a .nii.gz or .nii file for one case, or a folder"
    )
    maps = parser.add_mutually_exclusive_group()
    maps.add_argument(
        "--probabilities",
        action="store_true",
        help="also write <name>_probabilities.nii.gz, one map per label",
    )
    maps.add_argument(
        "--save-probabilities",
        action="store_true",
        help="also write <name>.npz and <name>.pkl, which nnUNetv2_ensemble reads; for models of nnU-Net's",
    )
    batch_arguments.add_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Segment; 1 where a case failed or an entry was left out."""
    from msdk_rt.cohort.plan import plan
    from msdk_rt.commands.batch import segment_cohort

    options.probabilities |= options.save_probabilities
    return segment_cohort(
        options,
        options.model,
        lambda manifest: plan(
            options.inputs,
            manifest.channels,
            options.output,
            manifest.file_ending,
            options.save_probabilities,
        ),
    )


COMMAND = Command("run", "segment NIfTI volumes, each in its own space", EXAMPLES, add_arguments, run)

"""`msdk-rt run`: its options."""

import argparse
from pathlib import Path

from msdk_rt.cohort.remote.url import location
from msdk_rt.commands import batch_arguments
from msdk_rt.commands.command import Command

FORMATS = ("nii.gz", "nii", "mha", "nrrd", "gipl", "seg.dcm", "rtstruct.dcm")
EXAMPLES = """examples:
  msdk-rt run model.onnx t1.nii.gz -o labels.nii.gz
  msdk-rt run model.onnx t1.nii.gz t1ce.nii.gz t2.nii.gz flair.nii.gz -o labels.nii.gz
  msdk-rt run model.onnx scans/ -o results/ --mirror 0 1 2
  msdk-rt run model.onnx s3://bucket/scans -o s3://bucket/results      # needs msdk_rt[remote]
  msdk-rt run model.onnx scans/ -o results/ --part 3/50       # one job of an array of 50
  msdk-rt run model.onnx dicom/ -o labels.seg.dcm --series '*MPRAGE*'
  msdk-rt run model.onnx study.zip -o labels.nii.gz --series t1=3 --series flair='*FLAIR*'
  msdk-rt run model.onnx imagesTs/ -o results/ --save-probabilities   # for nnUNetv2_ensemble

Files of one case are given in the channel order that `msdk-rt info model.onnx` shows. In a folder, files are
named <case>_0000.nii.gz, <case>_0001.nii.gz, ... in that order; a model with one channel also takes
<case>.nii.gz.

A folder is a DICOM case if DICOM files lie in it, or if those in its folders are of one study. In a folder of
cases, each DICOM folder or zip is one. DICOM needs the extra msdk_rt[dicom]; .mha, .nrrd and .gipl files,
which are read and written by SimpleITK, the extra msdk_rt[itk].

URLs (s3://, gs://, https:// to read, and what else fsspec knows) are of NIfTI files or of a folder of them.
Each case is fetched into the folder for temporary files and its result is put back whole. Credentials are
those of the environment.

Every entry of a folder is a case, or left out with a line that says why; then the exit code is 1. An output
folder gets report.json (all of them), volumes.tsv (voxels and millilitres of each label) and qc.html (a page
with pictures in three planes, failures and unusual volumes first).

Beside each result, <name>.nii.gz.json says what made it: model, settings, input, versions. A result that is
there is kept if the same model, settings and input (size and time) made it, so an interrupted run is resumed
by the same command; else it is made again. A file that no such record describes is never replaced without
--overwrite."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=Path, help="model.onnx, its manifest beside it")
    parser.add_argument(
        "inputs", type=location, nargs="+", help="files, DICOM folders or zips, or one folder; paths or URLs"
    )
    parser.add_argument(
        "-o",
        "--output",
        type=location,
        required=True,
        help="a .nii.gz, .nii, .mha, .nrrd, .gipl, .seg.dcm or .rtstruct.dcm file for one case, or a folder; "
        "a path or a URL",
    )
    parser.add_argument(
        "--series",
        action="append",
        default=[],
        metavar="[CHANNEL=]SERIES",
        help="the series of a DICOM folder by number, UID or description (* and ? are wild); one per channel",
    )
    parser.add_argument(
        "--format",
        choices=FORMATS,
        help="of results in a folder (default: the model's, else nii.gz); the DICOM ones need DICOM inputs",
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
    from msdk_rt.artifact.manifest import Manifest
    from msdk_rt.cohort.cases import SUFFIX
    from msdk_rt.cohort.plan import Plan, plan
    from msdk_rt.cohort.remote.view import list_folder, local_view
    from msdk_rt.commands.batch import segment_cohort

    options.probabilities |= options.save_probabilities

    def planned(manifest: Manifest) -> Plan:
        if len(manifest.channels) > 1:
            view.fetch_content()
        return plan(
            view.inputs,
            manifest.channels,
            view.output,
            options.series,
            f".{options.format}" if options.format else manifest.file_ending or SUFFIX,
            options.save_probabilities,
        )

    with local_view(options.inputs, options.output, list_folder) as view:
        return segment_cohort(options, options.model, view, planned)


COMMAND = Command(
    "run",
    "segment NIfTI volumes, other images and DICOM series, each in its own space",
    EXAMPLES,
    add_arguments,
    run,
)

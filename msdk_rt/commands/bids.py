"""`msdk-rt bids`: its options, those of a BIDS App."""

import argparse
from functools import partial
from pathlib import Path

from msdk_rt.cohort.remote.url import location
from msdk_rt.commands import batch_arguments
from msdk_rt.commands.command import Command

EXAMPLES = """examples:
  msdk-rt bids dataset/ dataset/derivatives/msdk_rt participant --model model.onnx
  msdk-rt bids dataset/ out/ participant --model model.onnx --participant-label 01 02
  msdk-rt bids dataset/ out/ participant --model model.onnx --channel t1=acq-mprage_T1w

Every run of every session that has a file for each channel is a case. Files are found by the channels' names:
t1 is T1w without contrast agent, t1ce is T1w with any, t2 is T2w, flair is FLAIR; others need --channel.
A channel without runs belongs to each run. What lacks a channel, or has two files for one, is left out with a
line that says so; then the exit code is 1.

The output is a BIDS derivative dataset: <case>_dseg.nii.gz, its .tsv of labels, and its .json with source and
provenance; and report.json, volumes.tsv, qc.html as `msdk-rt run` writes them. What is done is kept."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `msdk-rt bids`."""
    parser.add_argument("dataset", type=location, help="a BIDS dataset, a path or a URL")
    parser.add_argument(
        "output", type=location, help="the derivative dataset, a path or a URL, made where it is missing"
    )
    parser.add_argument("level", choices=["participant"], help="level of the analysis")
    parser.add_argument("--model", type=Path, required=True, help="model.onnx, its manifest beside it")
    parser.add_argument(
        "--participant-label", nargs="+", default=[], metavar="LABEL", help="only these, sub- may be left out"
    )
    parser.add_argument(
        "--channel",
        action="append",
        type=_channel,
        default=[],
        metavar="NAME=SUFFIX",
        help="which BIDS files are a channel, with entities where needed: t1ce=ce-gadolinium_T1w",
    )
    parser.set_defaults(probabilities=False)
    batch_arguments.add_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Segment; 1 where a case failed or something was left out."""
    from msdk_rt.artifact.manifest import Manifest
    from msdk_rt.cohort.bids.derivative import plan_dataset
    from msdk_rt.cohort.bids.listing import list_dataset
    from msdk_rt.cohort.plan import Plan
    from msdk_rt.cohort.remote.view import local_view
    from msdk_rt.commands.batch import segment_cohort

    def planned(manifest: Manifest) -> Plan:
        return plan_dataset(
            view.inputs[0],
            manifest,
            view.output,
            participants=options.participant_label,
            channels=dict(options.channel),
            source=view.address(view.inputs[0]),
        )

    listing = partial(list_dataset, options.participant_label)
    with local_view([options.dataset], options.output, listing) as view:
        return segment_cohort(options, options.model, view, planned)


def _channel(text: str) -> tuple[str, str]:
    name, sign, query = text.partition("=")
    if not (name and sign and query):
        raise argparse.ArgumentTypeError(f"expected NAME=SUFFIX, such as t1=T1w, got {text!r}")
    return name, query


COMMAND = Command("bids", "segment a BIDS dataset into a derivative dataset", EXAMPLES, add_arguments, run)

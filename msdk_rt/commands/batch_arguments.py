"""The options that `msdk-rt run` and `msdk-rt bids` share."""

import argparse

from msdk_rt.cohort.part import WHOLE, Part, parse_part
from msdk_rt.commands import opening_arguments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of a run over cases, whatever names them."""
    opening_arguments.add_arguments(parser)
    parser.add_argument(
        "--part",
        type=_part,
        default=WHOLE,
        metavar="I/N",
        help="only every N-th case by name, from the I-th on: one job of an array (results go to one folder)",
    )
    parser.add_argument(
        "--cluster",
        metavar="ADDRESS",
        help="run on the nodes of a Ray cluster, HOST:PORT or auto for the one that this machine belongs to; "
        "a worker for each GPU, or for every --threads processors (default: one per node)",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="segment again, replacing all of an earlier result"
    )
    parser.add_argument("--json", action="store_true", help="report on stdout as JSON")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def _part(text: str) -> Part:
    try:
        return parse_part(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error

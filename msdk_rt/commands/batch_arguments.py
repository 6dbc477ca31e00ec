"""The options that `msdk-rt run` and `msdk-rt bids` share."""

import argparse

from msdk_rt.artifact.vocabulary import BLENDS
from msdk_rt.cohort.part import WHOLE, Part, parse_part


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of a run over cases, whatever names them."""
    parser.add_argument("--overlap", type=float, default=0.5, help="of neighbouring windows (default: 0.5)")
    parser.add_argument("--blend", choices=BLENDS, help="window weights (default: the manifest's)")
    parser.add_argument("--batch-size", type=int, default=1, help="windows per inference (default: 1)")
    mirroring = parser.add_mutually_exclusive_group()
    mirroring.add_argument(
        "--mirror",
        type=int,
        nargs="+",
        metavar="AXIS",
        help="average over flips of axes among 0 1 2 (default: those that the model names, often none)",
    )
    mirroring.add_argument("--no-mirror", action="store_true", help="no flips, though the model names axes")
    parser.add_argument("--threads", type=int, help="of one inference (default: one per physical core)")
    parser.add_argument(
        "--provider", action="append", metavar="NAME", help="ONNX Runtime execution provider; repeat in order"
    )
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

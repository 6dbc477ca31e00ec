"""The options of how a Segmenter is opened, which the commands that segment share."""

import argparse
from pathlib import Path

from msdk_rt.artifact.vocabulary import BLENDS
from msdk_rt.cohort.opening import Opening


def add_windows(parser: argparse.ArgumentParser) -> None:
    """--overlap and --batch-size."""
    parser.add_argument("--overlap", type=float, default=0.5, help="of neighbouring windows (default: 0.5)")
    parser.add_argument("--batch-size", type=int, default=1, help="windows per inference (default: 1)")


def add_threads(parser: argparse.ArgumentParser) -> None:
    """--threads."""
    parser.add_argument("--threads", type=int, help="of one inference (default: one per physical core)")


def add_arguments(parser: argparse.ArgumentParser, names_axes: bool = True) -> None:
    """All that `opening_of` reads. names_axes: whether axes to mirror can be named, not only left out."""
    add_windows(parser)
    parser.add_argument("--blend", choices=BLENDS, help="window weights (default: the manifest's)")
    mirroring = parser.add_mutually_exclusive_group()
    if names_axes:
        mirroring.add_argument(
            "--mirror",
            type=int,
            nargs="+",
            metavar="AXIS",
            help="average over flips of axes among 0 1 2 (default: those that the model names, often none)",
        )
    mirroring.add_argument("--no-mirror", action="store_true", help="no flips, though the model names axes")
    add_threads(parser)
    parser.add_argument(
        "--provider", action="append", metavar="NAME", help="ONNX Runtime execution provider; repeat in order"
    )


def opening_of(options: argparse.Namespace, model: Path) -> Opening:
    """How the options say that the model is opened."""
    chosen = getattr(options, "mirror", None)
    axes = None if chosen is None else tuple(chosen)
    return Opening(
        model,
        providers=tuple(options.provider) if options.provider else None,
        overlap=options.overlap,
        blend=options.blend,
        batch_size=options.batch_size,
        mirror_axes=() if options.no_mirror else axes,
        threads=options.threads,
    )

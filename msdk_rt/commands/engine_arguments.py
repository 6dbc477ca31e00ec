"""The options of `msdk-rt export` for TensorRT."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from msdk_export import EngineOptions

_NAMES = (
    "best_batch",
    "max_batch",
    "workspace",
    "optimization_level",
    "timing_cache",
    "version_compatible",
    "hardware_compatible",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options; those not given stay None and take msdk_export.EngineOptions' defaults."""
    group = parser.add_argument_group("for a .engine, built by TensorRT for this machine's GPU")
    group.add_argument(
        "--best-batch", type=int, metavar="N", help="windows per inference to tune for (default: 1)"
    )
    group.add_argument(
        "--max-batch", type=int, metavar="N", help="windows per inference at most (default: 4)"
    )
    group.add_argument(
        "--workspace", type=int, metavar="BYTES", help="memory for one layer at most (default: all there is)"
    )
    group.add_argument(
        "--optimization-level",
        type=int,
        metavar="0-5",
        help="higher: slower build, faster engine (default: 3)",
    )
    group.add_argument(
        "--timing-cache", type=Path, metavar="FILE", help="keep measurements here, for a quicker next build"
    )
    group.add_argument(
        "--version-compatible",
        action="store_const",
        const=True,
        help="run on later TensorRTs of the same major version too",
    )
    group.add_argument(
        "--hardware-compatible",
        action="store_const",
        const=True,
        help="run on all GPUs of compute capability 8.0 and above",
    )


def engine_options(options: argparse.Namespace) -> "EngineOptions | None":
    """msdk_export.EngineOptions of what was given; None for nothing."""
    given = {name: getattr(options, name) for name in _NAMES if getattr(options, name) is not None}
    if not given:
        return None
    from msdk_export import EngineOptions

    return EngineOptions(**given)

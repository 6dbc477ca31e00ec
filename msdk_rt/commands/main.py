"""msdk-rt: one command line for all commands. Exit code 0: done, 1: failed, 2: wrong usage."""

import argparse
import contextlib
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

from tqdm import tqdm

import msdk_rt
from msdk_rt.artifact.notes import ExportWarning, InputWarning
from msdk_rt.commands import bench, bids, demo, export, info, run, series, serve, train, triton, view
from msdk_rt.commands.terminal import print_every_name
from msdk_rt.errors import MsdkError, one_line

COMMANDS = (
    export.COMMAND,
    run.COMMAND,
    series.COMMAND,
    bids.COMMAND,
    bench.COMMAND,
    info.COMMAND,
    train.COMMAND,
    demo.COMMAND,
    view.COMMAND,
    serve.COMMAND,
    triton.COMMAND,
)
OURS = (ExportWarning, InputWarning)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; every error is one line on stderr."""
    print_every_name()
    options = parser().parse_args(arguments)
    try:
        with _terminate_as_interrupt(), _warnings_as_lines():
            return int(options.command(options))
    except (MsdkError, OSError) as error:
        message = one_line(error)
    except KeyboardInterrupt as interrupt:
        message = str(interrupt) or "interrupted; finished results are complete, nothing is half-written"
    print(f"msdk-rt: {message}", file=sys.stderr)
    return 1


@contextlib.contextmanager
def _warnings_as_lines() -> Iterator[None]:
    """Each warning of ours is one line on stderr, above the progress bar; others stay as they are."""
    with warnings.catch_warnings():
        for ours in OURS:
            warnings.simplefilter("always", ours)
        show = warnings.showwarning

        def show_line(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
            if issubclass(category, OURS):
                tqdm.write(f"msdk-rt: warning: {message}", file=sys.stderr)
            else:
                show(message, category, *place, **more)

        warnings.showwarning = show_line
        yield


@contextlib.contextmanager
def _terminate_as_interrupt() -> Iterator[None]:
    """Make SIGTERM, which a shutdown or a batch system sends, stop a command the way Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def parser() -> argparse.ArgumentParser:
    """The parser of the whole command line; its result holds the command to call as `command`."""
    top = argparse.ArgumentParser(
        prog="msdk-rt",
        description="Segment 3D volumes with bidirectional-Mamba networks, without PyTorch.",
        epilog="`msdk-rt COMMAND --help` gives examples. Exit code: 0 done, 1 failed, 2 wrong usage.",
    )
    top.add_argument("--version", action="version", version=f"msdk-rt {msdk_rt.__version__}")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add_to(commands)
    return top

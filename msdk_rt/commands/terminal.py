"""What stdout and stderr can show: progress bars, and names in every script."""

import io
import sys


def shows_bars(quiet: bool = False) -> bool:
    """Whether progress bars are wanted and stderr is a terminal: in a file they would be endless."""
    return not quiet and sys.stderr.isatty()


def print_every_name() -> None:
    """Print characters that the terminal's encoding lacks as \\\\u escapes, where Python would raise."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")

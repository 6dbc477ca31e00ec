"""Sentences about what an export assumed or could not check, for the user and for the manifest."""

import contextlib
import sys
import warnings
from collections.abc import Iterator
from contextvars import ContextVar

from msdk_rt.artifact.notes import LONGEST_NOTE, MOST_NOTES, ExportWarning

_collected: ContextVar[list[str] | None] = ContextVar("notes of the export that is running", default=None)


@contextlib.contextmanager
def collecting() -> Iterator[list[str]]:
    """The list that gets every sentence noted or recorded inside the `with`, each once, in order."""
    notes: list[str] = []
    token = _collected.set(notes)
    try:
        yield notes
    finally:
        _collected.reset(token)


def note(sentence: str) -> None:
    """Warn of this (ExportWarning) and record it. A sentence that was recorded before is not repeated."""
    if record(sentence):
        warnings.warn(_one_line(sentence), ExportWarning, stacklevel=_frames_of_ours())


def record(sentence: str) -> bool:
    """Keep this for the manifest without a warning; False where the running export has it already.

    Outside of an export there is nothing to keep it in, and every sentence is new.
    """
    notes, line = _collected.get(), _one_line(sentence)
    if notes is None:
        return True
    if line in notes:
        return False
    if len(notes) < MOST_NOTES:
        notes.append(line)
    return True


def _one_line(sentence: str) -> str:
    """Printable, without line breaks, and no longer than a manifest takes."""
    line = "".join(c if c.isprintable() else "?" for c in " ".join(sentence.split()))
    return line if len(line) <= LONGEST_NOTE else f"{line[: LONGEST_NOTE - 3]}..."


def _frames_of_ours() -> int:
    """The stacklevel that names the line outside msdk_rt and msdk_export that led here."""
    frame, level = sys._getframe(1), 1
    while frame.f_back and frame.f_globals.get("__name__", "").startswith(("msdk_rt", "msdk_export")):
        frame, level = frame.f_back, level + 1
    return level

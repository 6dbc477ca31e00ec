"""Keeps warnings, of libraries and ours, for the case whose thread gave them."""

import contextlib
import threading
import warnings
from collections import defaultdict
from collections.abc import Iterator
from typing import Any


class Collected:
    """Warnings by thread, until they are taken."""

    def __init__(self) -> None:
        self._of_thread: dict[int, list[str]] = defaultdict(list)

    def add(self, message: Warning | str) -> None:
        self._of_thread[threading.get_ident()].append(" ".join(str(message).split()))

    def take(self) -> list[str]:
        """This thread's sentences since the last call, each once."""
        return list(dict.fromkeys(self._of_thread.pop(threading.get_ident(), [])))


@contextlib.contextmanager
def collecting_warnings() -> Iterator[Collected]:
    """Every warning in the block goes to its thread's list, not to stderr."""
    collected = Collected()

    def keep(message: Warning | str, *place: Any, **more: Any) -> None:
        collected.add(message)

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = keep
        yield collected

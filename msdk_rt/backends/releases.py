"""Releases of a device's memory, held back while their thread captures a graph.

CUDA refuses to free memory in a thread that captures, and breaks its capture. But garbage collection frees
whatever is unreachable, wherever it happens to run.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Releases(threading.local):
    """What this thread releases: at once, or after the block of `held`."""

    def __init__(self) -> None:
        self._waiting: list[tuple[Callable[..., object], tuple[object, ...]]] | None = None

    def call(self, release: Callable[..., object], *arguments: object) -> None:
        """Call it with the arguments now, or when the block of `held` that this thread is in ends."""
        if self._waiting is None:
            release(*arguments)
        else:
            self._waiting.append((release, arguments))

    @contextmanager
    def held(self) -> Iterator[None]:
        """Make this thread's releases wait for the end of the block."""
        self._waiting = []
        try:
            yield
        finally:
            waiting, self._waiting = self._waiting, None
            for release, arguments in waiting:
                release(*arguments)

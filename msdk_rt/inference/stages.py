"""Where the time of one segmentation goes."""

import contextlib
import time
from collections.abc import Iterator


class Stages:
    """Seconds by stage name, in the order in which the stages first ran. One object for one piece of work.

    stages = Stages()
    with stages("infer"):
        ...
    stages.seconds["infer"]
    """

    def __init__(self):
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started

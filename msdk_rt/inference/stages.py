"""Where the time of one segmentation goes."""

import time


class Stages:
    """Seconds by stage name, in the order in which the stages first ran. One object for one piece of work.

    stages = Stages()
    with stages("infer"):
        ...
    stages.seconds["infer"]
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def __call__(self, name: str) -> "_Stage":
        return _Stage(self.seconds, name)


class _Stage:
    """A stage that runs. A class, because contextlib's managers take as long as a small window's sums."""

    __slots__ = ("_name", "_seconds", "_started")

    def __init__(self, seconds: dict[str, float], name: str) -> None:
        self._seconds, self._name = seconds, name

    def __enter__(self) -> None:
        self._started = time.perf_counter()

    def __exit__(self, *raised: object) -> None:
        spent = time.perf_counter() - self._started
        self._seconds[self._name] = self._seconds.get(self._name, 0.0) + spent

"""What a server takes and keeps at most."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """upload: bytes of a request's body. queue: jobs that are uploaded, wait or run. seconds: of one job.
    kept: finished jobs, and images of MONAI Label's clients, whose files are kept. keep_seconds: how long.
    """

    upload: int = 2 << 30
    queue: int = 16
    seconds: float = 3600.0
    kept: int = 32
    keep_seconds: float = 3600.0

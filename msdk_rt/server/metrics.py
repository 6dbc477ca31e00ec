"""Figures of a server in the form that Prometheus reads. None says anything of a volume or of who sent it."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000, 3000)


class Metrics:
    """jobs, waits, seconds, refusals, uploads; each server has its own."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        self.jobs = Counter("msdk_rt_jobs", "Jobs that ended", ["model", "state"], registry=registry)
        self.seconds = Histogram(
            "msdk_rt_job_seconds",
            "Seconds of a job in the worker",
            ["model"],
            buckets=SECONDS,
            registry=registry,
        )
        self.wait = Histogram(
            "msdk_rt_wait_seconds", "Seconds that a job waited", buckets=SECONDS, registry=registry
        )
        self.refused = Counter("msdk_rt_refusals", "Requests refused", ["kind"], registry=registry)
        self.uploaded = Counter("msdk_rt_upload_bytes", "Bytes received", registry=registry)

    def gauge(self, name: str, meaning: str, value: Callable[[], float]) -> None:
        """A figure that is asked for when the metrics are."""
        Gauge(f"msdk_rt_{name}", meaning, registry=self._registry).set_function(value)

    def text(self) -> bytes:
        return generate_latest(self._registry)

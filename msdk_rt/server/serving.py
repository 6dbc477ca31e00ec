"""Runs a server from its settings to its end."""

import asyncio
import contextlib
import os
import socket
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import uvicorn

from msdk_rt.artifact.bundle import manifest_of
from msdk_rt.artifact.files import check_writable, temporary_folder
from msdk_rt.cohort.opening import Opening
from msdk_rt.errors import OutputError
from msdk_rt.server.app import application
from msdk_rt.server.images import Images
from msdk_rt.server.jobs import SWEEP, Jobs
from msdk_rt.server.limits import Limits
from msdk_rt.server.metrics import Metrics
from msdk_rt.server.process import WorkerProcess
from msdk_rt.server.service import Service

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
MOST_CONNECTIONS = 512
GOODBYE = 10  # seconds for answers under way when the server is stopped

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Settings:
    """models: by name. host, port: to listen on; 0 is any free port. token: "" for none. spool: a folder for
    uploads and results, None for one of this user below the system's temporary folder.
    """

    models: Mapping[str, Opening]
    host: str = "127.0.0.1"
    port: int = 8000
    token: str = ""
    limits: Limits = field(default_factory=Limits)
    spool: Path | None = None

    @property
    def is_loopback(self) -> bool:
        return self.host in ("localhost", "::1") or self.host.startswith("127.")


async def serve(settings: Settings, tell: Tell) -> None:
    """Serve until the process is told to stop. tell: takes the address, then a line for each thing to know.

    Raises MsdkError where a model cannot be opened or the spool cannot be used, OSError where the address
    cannot be had.
    """
    manifests = {name: manifest_of(opening.path) for name, opening in settings.models.items()}
    spool = settings.spool or own_folder()
    check_writable(spool)  # removes what a killed server left
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with (
        temporary_folder(spool) as folder,
        socket.create_server((settings.host, settings.port), family=family) as listening,
    ):
        folder.chmod(stat.S_IRWXU)
        worker, metrics = WorkerProcess(settings.models, settings.limits.seconds), Metrics()
        try:
            await worker.start()
            for warning in worker.warnings:
                tell(f"warning: {warning}")
            jobs = Jobs(worker, folder, settings.limits, metrics)
            service = Service(manifests, jobs, settings.limits, metrics, settings.token)
            images = Images(folder, settings.limits)
            app = application(service, images, LOOPBACK if settings.is_loopback else ())
            config = uvicorn.Config(
                app,
                log_level="warning",
                access_log=False,  # addresses hold names that clients gave
                server_header=False,
                lifespan="off",
                ws="none",
                loop="asyncio",
                http="h11",
                limit_concurrency=MOST_CONNECTIONS,
                timeout_graceful_shutdown=GOODBYE,
                proxy_headers=False,
            )
            server = _Server(config, jobs)
            with _running(server, jobs, images):
                host = f"[{settings.host}]" if ":" in settings.host else settings.host
                tell(f"http://{host}:{listening.getsockname()[1]}/")
                await server.serve(sockets=[listening])
        finally:
            await worker.close()


def own_folder() -> Path:
    """A folder below the system's temporary one that this user alone can enter. Raises OutputError."""
    if sys.platform == "win32":
        return Path(tempfile.gettempdir()) / "msdk-rt-serve"  # that folder is the user's own
    folder = Path(tempfile.gettempdir()) / f"msdk-rt-serve-{os.getuid()}"
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=stat.S_IRWXU)
    state = folder.lstat()
    if not stat.S_ISDIR(state.st_mode) or state.st_uid != os.getuid() or state.st_mode & 0o077:
        raise OutputError(
            f"{folder} is not this user's alone: remove it, or give another folder with --spool"
        )
    return folder


class _Server(uvicorn.Server):
    """Ends the jobs before it waits for the answers to them."""

    def __init__(self, config: uvicorn.Config, jobs: Jobs):
        super().__init__(config)
        self._jobs = jobs

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._jobs.close()
        await super().shutdown(sockets)


@contextlib.contextmanager
def _running(server: uvicorn.Server, jobs: Jobs, images: Images) -> Iterator[None]:
    """Run the queue and the sweeper in the block; where one fails, the server ends."""

    async def sweep_images() -> None:
        while True:
            await asyncio.sleep(SWEEP)
            images.sweep()

    def end(task: "asyncio.Task[None]") -> None:
        server.should_exit = True
        if not task.cancelled() and (error := task.exception()) is not None:
            failures.append(error)

    failures: list[BaseException] = []
    tasks = [asyncio.create_task(work) for work in (jobs.run(), jobs.sweep(), sweep_images())]
    for task in tasks:
        task.add_done_callback(end)
    try:
        yield
    finally:
        for task in tasks:
            task.remove_done_callback(end)
            task.cancel()
    if failures:
        raise failures[0]

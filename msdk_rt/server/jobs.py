"""Jobs: uploaded, queued, run one after the other, kept for a while, removed with their files."""

import asyncio
import secrets
import shutil
import time
from enum import Enum
from pathlib import Path
from typing import Any

from msdk_rt.server.limits import Limits
from msdk_rt.server.metrics import Metrics
from msdk_rt.server.process import WorkerProcess
from msdk_rt.server.refusals import Refusal, busy, not_found, refusal_of, stopping
from msdk_rt.server.tasks import Task

SWEEP = 5.0  # seconds between looks for what has been kept long enough


class State(str, Enum):
    """Where a job is."""

    UPLOADED = "uploaded"
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


ACTIVE = (State.UPLOADED, State.QUEUED, State.RUNNING)


class Job:
    """A case that a client sent. folder: of its files. over: set when it has ended."""

    def __init__(self, model: str, folder: Path):
        self.id, self.model, self.folder = secrets.token_urlsafe(16), model, folder
        self.state = State.UPLOADED
        self.error: Refusal | None = None
        self.done, self.total = 0, 0
        self.task: Task | None = None
        self.result = folder / "labels"  # with a suffix, when it is known
        self.record: dict[str, Any] = {}
        self.is_held = False  # by the worker, cancelled or not
        self.over = asyncio.Event()
        self.since = time.monotonic()  # of the state
        self.view = secrets.token_urlsafe(24)

    @property
    def is_active(self) -> bool:
        return self.state in ACTIVE

    def enter(self, state: State) -> float:
        """Change the state; returns the seconds in the one before."""
        now = time.monotonic()
        seconds, self.since, self.state = now - self.since, now, state
        if not self.is_active:
            self.over.set()
        return seconds

    def tell(self, done: int, total: int) -> None:
        self.done, self.total = done, total

    def described(self) -> dict[str, Any]:
        """Entries for the client."""
        entries: dict[str, Any] = {"id": self.id, "model": self.model, "state": self.state.value}
        entries["windows"] = {"done": self.done, "total": self.total}
        if self.error is not None:
            entries |= self.error.described()
        if self.state is State.DONE:
            entries |= {name: self.record[name] for name in ("labels", "label_values", "warnings")}
            entries["result"] = f"/jobs/{self.id}/result"
            entries["view"] = f"/view/{self.view}/" if self.task and self.task.view else None
        return entries


class Jobs:
    """The jobs of a server. folder: for their files. worker: segments them."""

    def __init__(self, worker: WorkerProcess, folder: Path, limits: Limits, metrics: Metrics):
        self._worker, self._folder, self._limits, self._metrics = worker, folder, limits, metrics
        self._jobs: dict[str, Job] = {}
        self._queue: asyncio.Queue[Job] = asyncio.Queue()
        self._is_closed = False
        metrics.gauge("jobs_active", "Jobs that are uploaded, wait or run", lambda: len(self._active()))
        metrics.gauge("jobs_kept", "Jobs that ended and are kept", lambda: len(self._ended()))
        metrics.gauge("worker_starts", "Processes that were started to segment", lambda: worker.starts)

    def open(self, model: str) -> Job:
        """A place in the queue and a folder for the upload. Raises Refusal."""
        if self._is_closed:
            raise stopping()
        if len(self._active()) >= self._limits.queue:
            raise busy(self._limits.queue)
        for job in self._ended()[: -self._limits.kept or None]:
            self.remove(job)
        folder = self._folder / secrets.token_hex(16)
        folder.mkdir()
        job = Job(model, folder)
        self._jobs[job.id] = job
        return job

    def submit(self, job: Job, task: Task) -> None:
        """Queue a job whose files have come."""
        job.task = task
        job.enter(State.QUEUED)
        self._queue.put_nowait(job)

    def find(self, identity: str) -> Job:
        """Raises Refusal."""
        if identity not in self._jobs:
            raise not_found("there is no such job; it may have been removed")
        return self._jobs[identity]

    def of_view(self, view: str) -> Job:
        """The job whose page has this address. Raises Refusal."""
        found = [
            job for job in self._jobs.values() if secrets.compare_digest(job.view.encode(), view.encode())
        ]
        if not found:
            raise not_found("there is no such page; its job may have been removed")
        return found[0]

    def cancel(self, job: Job) -> None:
        """End a job that has not ended."""
        if not job.is_active:
            return
        self._end(job, State.CANCELLED, Refusal(409, "Cancelled", "the job was cancelled"))
        if job.is_held:
            self._worker.cancel(job.id)  # its files go when the worker is out of them
        self.remove(job)

    def remove(self, job: Job) -> None:
        """Forget a job that has ended, and delete its files."""
        if job.is_active or job.is_held:
            return
        self._jobs.pop(job.id, None)
        shutil.rmtree(job.folder, ignore_errors=True)

    async def run(self) -> None:
        """Run the jobs, for ever."""
        while True:
            job = await self._queue.get()
            if job.state is State.QUEUED and job.task is not None:
                self._metrics.wait.observe(job.enter(State.RUNNING))
                await self._run(job, job.task)

    async def sweep(self) -> None:
        """Remove what has been kept long enough, for ever."""
        while True:
            await asyncio.sleep(min(SWEEP, self._limits.keep_seconds))
            for job in self._ended():
                if time.monotonic() - job.since > self._limits.keep_seconds:
                    self.remove(job)

    def close(self) -> None:
        """Refuse new jobs and end those that there are."""
        self._is_closed = True
        for job in self._active():
            self._end(job, State.CANCELLED, stopping())

    async def _run(self, job: Job, task: Task) -> None:
        job.is_held = True
        try:
            answer = await self._worker.segment(task, job.tell)
        except Refusal as refusal:
            answer = {"refusal": refusal}
        job.is_held = False
        if job.state is State.CANCELLED:
            self.remove(job)
        elif "record" in answer:
            job.record = answer["record"]
            self._end(job, State.DONE)
        elif "refusal" in answer:
            self._end(job, State.FAILED, answer["refusal"])
        else:
            self._end(job, State.FAILED, refusal_of(answer["error"]["kind"], answer["error"]["message"]))

    def _end(self, job: Job, state: State, error: Refusal | None = None) -> None:
        was_running = job.state is State.RUNNING
        job.error = error
        seconds = job.enter(state)
        if was_running:
            self._metrics.seconds.labels(job.model).observe(seconds)
        self._metrics.jobs.labels(job.model, state.value).inc()
        if state is State.FAILED:
            shutil.rmtree(job.folder, ignore_errors=True)

    def _active(self) -> list[Job]:
        return [job for job in self._jobs.values() if job.is_active]

    def _ended(self) -> list[Job]:
        """Those that have ended, the oldest first; cancelled ones that the worker still holds are not."""
        ended = [job for job in self._jobs.values() if job.state in (State.DONE, State.FAILED)]
        return sorted(ended, key=lambda job: job.since)

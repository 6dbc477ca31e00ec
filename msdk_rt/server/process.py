"""The server's handle of its worker: starts it, gives it tasks one by one, replaces it where it dies."""

import asyncio
import contextlib
import json
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Mapping
from typing import Any

from msdk_rt.cohort.opening import Opening
from msdk_rt.errors import BackendError
from msdk_rt.server.refusals import Refusal
from msdk_rt.server.tasks import LONGEST_LINE, Task, line, opening_entries, task_line

PATIENCE = 60.0  # seconds until a worker that does not end a cancelled job is killed
FAREWELL = 5.0  # seconds for a worker to end when it is told to

Tell = Callable[[int, int], None]


class WorkerProcess:
    """One process of msdk_rt.server.worker. openings: the models by name. seconds: of one task at most."""

    def __init__(self, openings: Mapping[str, Opening], seconds: float):
        self._models = {name: opening_entries(opening) for name, opening in openings.items()}
        self._seconds = seconds
        self._process: Process | None = None
        self._current = ""
        self.starts = 0
        self.ready: dict[str, Any] = {}
        self.warnings: list[str] = []

    async def start(self) -> None:
        """Start it and wait until the models are open. Raises BackendError."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "msdk_rt.server.worker"),
            stdin=PIPE,
            stdout=PIPE,
            limit=LONGEST_LINE,
            start_new_session=True,  # Ctrl-C in the terminal is for the server alone
        )
        self._process = process
        self.starts += 1
        self._send({"models": self._models})
        answer = await self._answer(process)
        if "ready" not in answer:
            await self.close()
            raise BackendError(answer.get("refused") or f"the worker ended as it opened the models, {answer}")
        self.ready, self.warnings = answer["ready"], answer["warnings"]

    @property
    def pid(self) -> int:
        """Of the process, 0 where there is none."""
        return self._process.pid if self._process else 0

    async def segment(self, task: Task, tell: Tell) -> dict[str, Any]:
        """How the task ended: {"record": ...}, {"error": ...} or {"cancelled": True}.

        tell: takes windows done and windows in all. Raises Refusal where the worker died or took too long;
        the next task finds another worker.
        """
        if self._process is None or self._process.returncode is not None:
            try:
                await self.start()
            except BackendError as error:
                raise Refusal(500, "BackendError", str(error)) from error
        self._current = task.job
        try:
            return await asyncio.wait_for(self._segment(task, tell), self._seconds)
        except asyncio.TimeoutError:
            await self.kill()
            raise Refusal(
                504,
                "TooSlow",
                f"the job took more than {self._seconds:.0f} s (--job-seconds) and was ended",
            ) from None
        finally:
            self._current = ""

    def cancel(self, job: str) -> None:
        """Have the worker leave a task between two windows; it is killed where it does not."""
        if job != self._current:
            return
        self._send({"cancel": job})
        asyncio.get_running_loop().call_later(PATIENCE, self._kill_if_in, job)

    async def kill(self) -> None:
        """End the process at once."""
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def close(self) -> None:
        """Tell the process to end, and see to it."""
        process = self._process
        if process is not None and process.stdin is not None:
            process.stdin.close()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(process.wait(), FAREWELL)
        await self.kill()

    async def _segment(self, task: Task, tell: Tell) -> dict[str, Any]:
        process = self._process
        if process is None:
            raise _lost(None)
        self._send(None, task_line(task))
        while True:
            answer = await self._answer(process)
            if "done" in answer:
                tell(answer["done"], answer["total"])
            elif "ended" in answer:
                return answer
            else:
                self._process = None
                raise _lost(answer["code"])

    async def _answer(self, process: Process) -> dict[str, Any]:
        """The worker's next line; {"code": exit code} where there is none."""
        if process.stdout is None:
            raise BackendError("the worker has no stdout")
        text = await process.stdout.readline()
        if not text:
            return {"code": await process.wait()}
        answer: dict[str, Any] = json.loads(text)
        return answer

    def _send(self, message: Mapping[str, Any] | None, text: bytes = b"") -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.write(text or line(message or {}))

    def _kill_if_in(self, job: str) -> None:
        if self._current == job and self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()


def _lost(code: int | None) -> Refusal:
    """The answer to a job whose worker died."""
    name = ""
    if code is not None and code < 0:
        with contextlib.suppress(ValueError):
            name = f" by {signal.Signals(-code).name}"
    return Refusal(
        500,
        "WorkerLost",
        f"the process that segments was ended{name}, perhaps for lack of memory: the volume may be too "
        "large for this machine. Nothing of the job is left; the next one finds a new process",
    )

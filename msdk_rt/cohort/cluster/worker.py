"""A worker of a cluster: one Segmenter in its own process, on a node where this package is installed."""

import asyncio
import contextlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msdk_rt
from msdk_rt.artifact.files import private_folder
from msdk_rt.backends.processors import threads_for
from msdk_rt.cohort.cases import Case
from msdk_rt.cohort.opening import Opening
from msdk_rt.cohort.records import Request, model_of, shared_identity
from msdk_rt.cohort.remote.staging import Staging
from msdk_rt.cohort.remote.store import check_writable
from msdk_rt.cohort.remote.url import Url
from msdk_rt.cohort.run import Outcome, Ready, Segmented, Work
from msdk_rt.cohort.warned import collecting_warnings
from msdk_rt.errors import InputError, MsdkError, OutputError, one_line


@dataclass(frozen=True)
class Opened:
    """A worker that is ready, or why it cannot work. warnings: of opening it."""

    fault: str = ""
    providers: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Answer:
    """What a worker says of a case. lines: for the terminal. refused: why this worker cannot try it."""

    outcome: Outcome | None = None
    lines: tuple[str, ...] = ()
    refused: str = ""


class Worker:
    """Segments cases, up to three at a time, each at another stage: read, in the network, written."""

    def __init__(self, opening: Opening, request: Request, sign: Path | Url, version: str, processors: int):
        """sign: a folder among the results, which proves that they are the ones that the driver sees; or the
        URL of a result. version: the driver's. processors: that the worker may use.
        """
        self._opening, self._request, self._sign, self._version = opening, request, sign, version
        self._processors = processors
        self._held = contextlib.ExitStack()  # as long as the worker: the folder and the collected warnings

    async def open(self) -> Opened:
        """Open the Segmenter."""
        if msdk_rt.__version__ != self._version:
            return Opened(f"has msdk_rt {msdk_rt.__version__}, the driver {self._version}: install the same")
        if isinstance(self._sign, Path) and not self._sign.is_dir():
            return Opened(
                f"does not see the results' folder {self._sign.parent} as the driver does: give a path that "
                "all nodes share"
            )
        self._warned = self._held.enter_context(collecting_warnings())
        try:
            if isinstance(self._sign, Url):
                check_writable(self._sign.parent)
            self._staging = Staging(self._held.enter_context(private_folder()))
            opening = self._with_threads()
            self._segmenter = opening.open()
        except (MsdkError, OSError) as error:
            return Opened(one_line(error))
        if model_of(self._segmenter.manifest) != self._request.model:
            return Opened(f"has another model at {self._opening.path}: give a path that all nodes share")
        self._request = replace(self._request, made_with=opening.made_with(self._segmenter))
        names = ("msdk-read", "msdk-network", "msdk-write")
        self._reader, self._network, self._writer = (ThreadPoolExecutor(1, name) for name in names)
        return Opened("", tuple(self._segmenter.providers), tuple(self._warned.take()))

    async def segment(self, case: Case, inputs: Sequence[dict[str, Any]]) -> Answer:
        """Read, segment and write a case as run_cases does. inputs: identity of its files at the driver."""
        loop, lines = asyncio.get_running_loop(), list[str]()
        work = Work(self._segmenter, self._request, lines.append, False, self._warned, self._staging)
        try:
            read = await loop.run_in_executor(self._reader, _read, work, case, inputs)
            done = await loop.run_in_executor(self._network, self._infer, work, case, read)
            if isinstance(done, Segmented):
                done = await loop.run_in_executor(self._writer, work.write, done)
        except (_Unseen, OutputError) as error:
            return Answer(lines=tuple(lines), refused=one_line(error))
        return Answer(done, tuple(lines))

    def _infer(self, work: Work, case: Case, read: Ready | Outcome) -> Segmented | Outcome:
        if isinstance(read, Outcome) and read.error:
            self._writer.submit(int).result()  # what was too large beside two others may fit beside one
            read = work.read(case)
        return work.infer(read)

    def _with_threads(self) -> Opening:
        """The settings, with the worker's processors for threads where none were asked for."""
        if self._opening.threads is not None or self._opening.path.suffix == ".engine":
            return self._opening
        return replace(self._opening, threads=max(1, min(threads_for(None), self._processors)))


class _Unseen(Exception):
    """The node sees other files than the driver."""


def _read(work: Work, case: Case, inputs: Sequence[dict[str, Any]]) -> Ready | Outcome:
    try:
        found = shared_identity(case)
    except InputError as error:
        raise _Unseen(f"{one_line(error)}: give paths that all nodes share") from error
    if found != list(inputs):
        raise _Unseen(
            f"sees another file at {case.inputs[0]} than the driver: give paths that all nodes share"
        )
    return work.read(case)

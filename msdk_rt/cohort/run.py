"""Segments cases: one by one, or with the next read and the last written while the network runs."""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from msdk_rt.cohort.cases import Case
from msdk_rt.cohort.records import Request, earlier, identity
from msdk_rt.cohort.remote.staging import Staging, fetch_inputs
from msdk_rt.cohort.results import write_result
from msdk_rt.cohort.warned import Collected, collecting_warnings
from msdk_rt.errors import InputError, MsdkError, OutputError, one_line
from msdk_rt.imaging.results import Segmentation
from msdk_rt.imaging.volumes import Volume, read_volume
from msdk_rt.inference.arrays import Array
from msdk_rt.segmenter import Segmenter

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Outcome:
    """The outcome of a case; can be sent to another process.

    record: of the result, empty where there is none. error: a sentence, "" where there is a result. kept: the
    result was there already. seconds: of reading, segmenting and writing, without waiting in between.
    """

    case: Case
    record: dict[str, Any] = field(default_factory=dict)
    error: str = ""
    kept: bool = False
    seconds: float = 0.0


@dataclass(frozen=True, eq=False)
class Ready:
    """A case that was read. inputs: identity of its files. replaces: why an earlier result is not kept."""

    case: Case
    volume: Volume
    inputs: list[dict[str, Any]]
    replaces: str
    warned: list[str]
    seconds: float


@dataclass(frozen=True, eq=False)
class Segmented:
    """A case that went through the network. image: its first channel in the file's axis order."""

    case: Case
    segmentation: Segmentation
    image: Array
    inputs: list[dict[str, Any]]
    warned: list[str]
    seconds: float


def run_case(
    segmenter: Segmenter, case: Case, request: Request, tell: Tell = print, progress: bool = False
) -> Outcome:
    """Read, segment and write one case, unless its result is there already.

    tell: takes a line about it. Whatever is wrong with the case is in the outcome. Raises OutputError.
    """
    with collecting_warnings() as warned:
        work = Work(segmenter, request, tell, progress, warned)
        segmented = work.infer(work.read(case))
        return segmented if isinstance(segmented, Outcome) else work.write(segmented)


def run_cases(
    segmenter: Segmenter,
    cases: Sequence[Case],
    request: Request,
    tell: Tell = print,
    progress: bool = False,
    staging: Staging | None = None,
) -> Iterator[Outcome]:
    """The outcome of each case, in order, as of run_case. One thread reads the next, one writes the last.

    Three cases are in memory at most; one that cannot be read beside two others is read again when they are
    done. Finished results are written even where the caller is interrupted. staging: where files of URLs are
    brought. Raises OutputError.
    """
    with (
        collecting_warnings() as warned,
        ThreadPoolExecutor(1, "msdk-read") as reader,
        ThreadPoolExecutor(1, "msdk-write") as writer,
    ):
        for executor in (reader, writer):  # one interrupted while its thread starts would not wait for it
            executor.submit(int).result()
        work = Work(segmenter, request, tell, progress, warned, staging)
        reading = [reader.submit(work.read, case) for case in cases[:1]]
        writing: list[Future[Outcome]] = []
        for index, case in enumerate(cases):
            read = reading.pop().result()
            if isinstance(read, Outcome) and read.error and index > 0:
                yield from _ended(writing)
                read = work.read(case)
            reading = [reader.submit(work.read, following) for following in cases[index + 1 : index + 2]]
            segmented = work.infer(read)
            del read
            yield from _ended(writing)
            if isinstance(segmented, Outcome):
                yield segmented
            else:
                writing.append(writer.submit(work.write, segmented))
            del segmented
        yield from _ended(writing)


def _ended(writing: list[Future[Outcome]]) -> Iterator[Outcome]:
    """Wait for what is being written."""
    while writing:
        yield writing.pop(0).result()


@dataclass(frozen=True, eq=False)
class Work:
    """The three stages of a case, each in its own thread or in sequence."""

    segmenter: Segmenter
    request: Request
    tell: Tell
    progress: bool
    warned: Collected
    staging: Staging | None = None

    def read(self, case: Case) -> Ready | Outcome:
        """The case's volume; the outcome where an earlier result is kept or the case cannot be read."""
        start = time.perf_counter()
        self.warned.take()  # what a case that could not be read left
        manifest = self.segmenter.manifest
        try:
            if case.mirror:
                case = self._staged.bring(case, self.request.probabilities)
            before = earlier(case, self.request)
            if before.kept:
                return Outcome(case, before.kept, kept=True)
            inputs = identity(case)
            if fetch_inputs(case) and identity(case) != inputs:
                raise InputError(f"{case.shown(case.inputs[0])} changed while it was read: run again")
            volume = read_volume(case.inputs, manifest.channels, manifest.orientation, case.choices)
        except (MsdkError, OSError, MemoryError) as error:
            return Outcome(case, error=_sentence(error, case))
        warned = [case.told(sentence) for sentence in self.warned.take()]
        return Ready(case, volume, inputs, case.told(before.fault), warned, time.perf_counter() - start)

    def infer(self, read: Ready | Outcome) -> Segmented | Outcome:
        """Its labels in the file's space. An outcome is told and passed on."""
        if isinstance(read, Outcome):
            return self._done(read)
        start = time.perf_counter()
        self.warned.take()
        if read.replaces:
            self.tell(f"{read.case.name}: segmented again, since {read.replaces}")
        try:
            segmentation = self.segmenter.run(
                read.volume, return_probabilities=self.request.probabilities, progress=self.progress
            )
        except (MsdkError, MemoryError) as error:
            return self._done(Outcome(read.case, error=_sentence(error, read.case)))
        image = read.volume.space.from_model(read.volume.data[0])
        if len(read.volume.data) > 1:
            image = image.copy()  # lets go of the other channels
        seconds = read.seconds + time.perf_counter() - start
        warned = list(dict.fromkeys([*read.warned, *self.warned.take()]))
        return Segmented(read.case, segmentation, image, read.inputs, warned, seconds)

    def write(self, done: Segmented) -> Outcome:
        """The result, on disk or in its store."""
        start, case = time.perf_counter(), done.case
        try:
            record = write_result(case, done.segmentation, done.image, self.request, done.inputs, done.warned)
            if case.mirror:
                self._staged.deliver(case, record)
        except (InputError, OutputError) as error:
            # The input lacks what the format of the result must carry, or its store failed. A disk fails all.
            if isinstance(error, OutputError) and not (case.mirror and case.mirror.url(case.output)):
                raise
            return self._done(Outcome(case, error=_sentence(error, case)))
        return self._done(Outcome(case, record, seconds=done.seconds + time.perf_counter() - start))

    @property
    def _staged(self) -> Staging:
        if self.staging is None:
            raise ValueError("a case with URLs needs a folder to be brought to")
        return self.staging

    def _done(self, outcome: Outcome) -> Outcome:
        """Tell of the case, and let go of what was brought for it."""
        self.tell(_told(outcome))
        if self.staging:
            self.staging.release(outcome.case)
        return outcome


def _told(outcome: Outcome) -> str:
    """A line about a case that is done."""
    name, output = outcome.case.name, outcome.case.shown(outcome.case.output)
    if outcome.error:
        return f"{name}: {outcome.error}"
    if outcome.kept:
        return f"{name}: kept {output}, which exists; --overwrite segments it again"
    warned = "".join(f"; warning: {sentence}" for sentence in outcome.record.get("warnings", []))
    return f"{name}: {output}, {outcome.seconds:.1f} s{warned}"


def _sentence(error: Exception, case: Case) -> str:
    if isinstance(error, MemoryError):
        return f"not enough memory ({one_line(error) or 'none said how much'}): crop or resample it"
    return case.told(one_line(error))

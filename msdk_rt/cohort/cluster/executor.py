"""Runs the cases of a plan on a Ray cluster, each on whichever worker is free.

A pool of actors, not Ray Data: Ray Data tries a block again without saying which of its cases killed a
worker, and brings PyArrow and pandas along.
"""

import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, nullcontext, redirect_stdout
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from msdk_rt.artifact.bundle import unpacked
from msdk_rt.artifact.files import check_writable, folder_lock, temporary_folder
from msdk_rt.artifact.manifest import read_manifest
from msdk_rt.cohort.cases import Case
from msdk_rt.cohort.cluster.crew import Answered, Crew, Gone, Member, Ready
from msdk_rt.cohort.cluster.dispatch import MOST_KILLS, MOST_LOST_NODES, Dispatch
from msdk_rt.cohort.cluster.nodes import join, needs_gpu
from msdk_rt.cohort.opening import Opening
from msdk_rt.cohort.records import Request, shared_identity
from msdk_rt.cohort.run import Outcome, Tell
from msdk_rt.errors import BackendError, InputError, one_line

STARTING = 60.0  # seconds without a worker that are worth a line
PATIENCE = 300.0  # seconds without any node before the rest is given up


class Cluster:
    """The nodes of a Ray cluster. Each worker has a Segmenter, and a GPU or some processors for it."""

    def __init__(self, opening: Opening, address: str):
        """address: "auto" or HOST:PORT. Raises ArtifactError, BackendError."""
        self._opening, self._address = replace(opening, path=opening.path.absolute()), address
        with unpacked(self._opening.path) as path, folder_lock(path.parent, shared=True):
            self.manifest = read_manifest(path)
        with ExitStack() as redirected:  # stdout is for the report; Ray prints what happens to nodes there
            redirected.enter_context(redirect_stdout(sys.stderr))
            self._ray = join(address)
            self._stdout = redirected.pop_all()
        self._cases_on: Counter[str] = Counter()
        self._providers: set[str] = set()

    def run(
        self, cases: Sequence[Case], request: Request, tell: Tell, progress: bool = False
    ) -> Iterator[Outcome]:
        """Outcomes in the order in which they come."""
        if not cases:
            return
        url = cases[0].mirror.url(cases[0].output) if cases[0].mirror else None
        gpu = needs_gpu(self._opening.providers, self.manifest.engine is not None)
        with (
            nullcontext(url) if url else _sign_among(cases) as sign,
            closing(Crew(self._ray, self._opening, request, sign, gpu)) as crew,
            tqdm(total=len(cases), desc="cases", unit="case", leave=False, disable=not progress) as bar,
        ):
            for outcome in _Run(crew, cases, tell, self._cases_on, self._providers).outcomes():
                bar.update()
                yield outcome

    def described(self) -> dict[str, Any]:
        """Entries of the report: providers in use, threads asked for, and how many cases each node had."""
        return {
            "providers": sorted(self._providers),
            "threads": self._opening.threads,
            "cluster": {"address": self._address, "cases_on": dict(sorted(self._cases_on.items()))},
        }

    def close(self) -> None:
        """Leave the cluster."""
        with self._stdout:
            self._ray.shutdown()


@dataclass
class _Run:
    """One run over cases. cases_on, providers: what the report says of it."""

    crew: Crew
    cases: Sequence[Case]
    tell: Tell
    cases_on: Counter[str]
    providers: set[str]
    dispatch: Dispatch[Member] = field(init=False)
    seen: float = field(init=False, default_factory=time.monotonic)
    told: set[str] = field(init=False, default_factory=set)

    def __post_init__(self) -> None:
        self.dispatch = Dispatch(len(self.cases))

    def outcomes(self) -> Iterator[Outcome]:
        """An outcome for each case, as they come."""
        while self.dispatch.unfinished:
            self.crew.look(self.dispatch.unfinished)
            yield from self._without_nodes()
            yield from self._give_out()
            for event in self.crew.events():
                if isinstance(event, Gone):
                    yield from self._gone(event)
                elif isinstance(event, Ready):
                    self._opened(event)
                else:
                    yield from self._answered(event)

    def _give_out(self) -> Iterator[Outcome]:
        """Send cases to workers that can take some."""
        while given := self.dispatch.next_for(self.crew.ready):
            member, index = given
            case = self.cases[index]
            try:
                inputs = shared_identity(case)
            except InputError as error:
                self.dispatch.done(member, index)
                yield self._failed(index, one_line(error))
            else:
                self.crew.send(member, index, _absolute(case), inputs)

    def _opened(self, event: Ready) -> None:
        node = event.member.node
        if event.opened.fault:
            self._refuse(event.member, event.opened.fault)
            return
        self.providers.update(event.opened.providers)
        self._tell_once(f"{node.name}: ready with {', '.join(event.opened.providers)}")
        for warning in event.opened.warnings:
            self._tell_once(f"{node.name}: warning: {warning}")

    def _answered(self, event: Answered) -> Iterator[Outcome]:
        answer, case = event.answer, self.cases[event.index]
        for line in answer.lines:
            self.tell(line)
        if answer.outcome:
            self.dispatch.done(event.member, event.index)
            self.cases_on[event.member.node.name] += 1
            yield replace(answer.outcome, case=case)
            return
        self.dispatch.given_back(event.member, event.index)
        if (
            _identity_or_none(case) == event.inputs
        ):  # else it changed meanwhile, which is no fault of the node
            self._refuse(event.member, answer.refused)

    def _gone(self, event: Gone) -> Iterator[Outcome]:
        held = self.dispatch.held(event.member)
        given_up = self.dispatch.lost(event.member, event.with_node)
        what = "the node was lost" if event.with_node else f"a worker died ({event.detail})"
        names = ", ".join(self.cases[index].name for index in held if index not in given_up)
        again = f"; again elsewhere: {names}" if names else ""
        self.tell(f"{event.member.node.name}: {what}{again}")
        for index in given_up:
            how = f"{MOST_LOST_NODES} nodes were lost" if event.with_node else f"{MOST_KILLS} workers died"
            yield self._failed(
                index,
                f"{how} while they had it ({event.detail}): run it by itself, to see whether it is the cause",
            )

    def _refuse(self, member: Member, fault: str) -> None:
        self.crew.refuse(member.node, fault)
        self._tell_once(f"{self.crew.unfit[member.node.id]}; it gets no case")

    def _without_nodes(self) -> Iterator[Outcome]:
        """See that some node can work. Gives up what is left where none has been for a while."""
        if self.crew.ready:
            self.seen = time.monotonic()
        if self.crew.places() or any(self.dispatch.held(member) for member in self.crew.members):
            if time.monotonic() > self.seen + STARTING:
                self._tell_once(
                    f"no worker started in {STARTING:.0f} seconds, waiting: are the nodes in use?"
                )
            return
        if self.crew.unfit:
            raise BackendError(f"no node of the cluster can work: {'; '.join(self.crew.unfit.values())}")
        if not self.crew.had_places:
            raise BackendError(self.crew.no_room())
        if time.monotonic() > self.seen + PATIENCE:
            for index in self.dispatch.queued():
                self.dispatch.drop(index)
                yield self._failed(index, f"no node of the cluster was there for {PATIENCE:.0f} seconds")
        self._tell_once("no node of the cluster is left, waiting for one")

    def _failed(self, index: int, error: str) -> Outcome:
        outcome = Outcome(self.cases[index], error=error)
        self.tell(f"{outcome.case.name}: {error}")
        return outcome

    def _tell_once(self, line: str) -> None:
        if line not in self.told:
            self.told.add(line)
            self.tell(line)


@contextmanager
def _sign_among(cases: Sequence[Case]) -> Iterator[Path]:
    """A folder above all results, while they are made."""
    shared = Path(os.path.commonpath([case.output.parent.absolute() for case in cases]))
    check_writable(shared)
    with temporary_folder(shared) as sign:
        yield sign


def _absolute(case: Case) -> Case:
    """The case for a process with another working directory."""
    return replace(
        case,
        inputs=tuple(path.absolute() for path in case.inputs),
        output=case.output.absolute(),
        probabilities=case.probabilities.absolute(),
        record=case.record.absolute(),
        picture=case.picture and case.picture.absolute(),
        companions={path.absolute(): text for path, text in case.companions.items()},
    )


def _identity_or_none(case: Case) -> list[dict[str, Any]] | None:
    try:
        return shared_identity(case)
    except InputError:
        return None

"""The workers on a cluster's nodes: started where there is room, watched, replaced when they are gone."""

import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msdk_rt
from msdk_rt.cohort.cases import Case
from msdk_rt.cohort.cluster.nodes import Node, nodes_of, room_on
from msdk_rt.cohort.cluster.worker import Answer, Opened, Worker
from msdk_rt.cohort.opening import Opening
from msdk_rt.cohort.records import Request
from msdk_rt.cohort.remote.url import Url
from msdk_rt.errors import one_line

LOOK_EVERY = 5.0  # seconds between looks at which nodes there are
AVOID_FOR = 30.0  # seconds without new workers on a node whose connection broke; it may come back
WAIT = 0.5
MOST_DEATHS_OPENING = 2
MOST_DETAIL = 300


@dataclass(frozen=True, eq=False)
class Member:
    """A worker on a node."""

    actor: Any
    node: Node


@dataclass(frozen=True)
class Answered:
    """A worker's answer about the case `index`, whose files were `inputs` when it was sent."""

    member: Member
    index: int
    inputs: Sequence[dict[str, Any]]
    answer: Answer


@dataclass(frozen=True)
class Ready:
    """A worker has opened its Segmenter, or said why it cannot."""

    member: Member
    opened: Opened


@dataclass(frozen=True)
class Gone:
    """A worker is gone: by itself, or with its node. detail: what Ray says of it."""

    member: Member
    with_node: bool
    detail: str


class Crew:
    """Ray's side of a run."""

    def __init__(self, ray: Any, opening: Opening, request: Request, sign: Path | Url, gpu: bool | None):
        """sign: a folder that proves to a worker that it sees the results' folder; or a result's URL. gpu: as
        of needs_gpu.
        """
        self._ray, self._opening, self._request, self._sign, self._gpu = ray, opening, request, sign, gpu
        self.members: list[Member] = []  # those that are starting too
        self._ready: list[Member] = []
        self._calls: dict[Any, tuple[Member, int, Sequence[dict[str, Any]]]] = {}
        self._avoided: dict[str, float] = {}
        self._deaths: Counter[str] = Counter()
        self._looked = float("-inf")
        self.unfit: dict[str, str] = {}
        self.nodes: dict[str, Node] = {}
        self.had_places = False

    @property
    def ready(self) -> list[Member]:
        """Workers that take cases."""
        return [member for member in self._ready if member.node.id not in self.unfit]

    def places(self) -> int:
        """Workers that the fit nodes have room for."""
        return sum(self._room(node).workers for node in self._fit())

    def no_room(self) -> str:
        """A sentence about a cluster without places."""
        wanted = "a GPU" if self._gpu else f"{self._opening.threads or 1} processor(s)"
        offered = "; ".join(
            f"{node.name} has {node.processors} processor(s) and {node.gpus} GPU(s)"
            for node in self.nodes.values()
        )
        return f"no node of the cluster offers the {wanted} that a worker needs: {offered}"

    def look(self, wanted: int) -> None:
        """Start workers where there is room, `wanted` at most in all. Looks at the nodes every 5 seconds."""
        if time.monotonic() < self._looked + LOOK_EVERY:
            return
        self._looked = time.monotonic()
        self.nodes = nodes_of(self._ray)
        self.had_places = self.had_places or self.places() > 0
        if isinstance(self._sign, Path):
            os.utime(self._sign)  # shows that it is in use, on a disk without locks
        for node in self._fit():
            if time.monotonic() < self._avoided.get(node.id, 0.0):
                continue
            present = sum(member.node.id == node.id for member in self.members)
            fit = sum(member.node.id not in self.unfit for member in self.members)
            for _ in range(min(self._room(node).workers - present, wanted - fit)):
                self._start(node)

    def send(self, member: Member, index: int, case: Case, inputs: Sequence[dict[str, Any]]) -> None:
        """Give a worker a case, whose paths are absolute."""
        self._calls[member.actor.segment.remote(case, inputs)] = (member, index, inputs)

    def events(self) -> Iterator[Answered | Ready | Gone]:
        """What has happened, after half a second at most."""
        if not self._calls:
            time.sleep(WAIT)
            return
        ended, _ = self._ray.wait(list(self._calls), timeout=WAIT)
        for call in ended:
            if call not in self._calls:  # of a worker that turned out to be gone
                continue
            member, index, inputs = self._calls[call]
            errors = self._ray.exceptions
            try:
                answer = self._ray.get(call)
            except (errors.RayActorError, errors.ObjectLostError) as error:
                yield self._gone(member, error)
                continue
            del self._calls[call]
            if isinstance(answer, Opened):
                if not answer.fault:
                    self._ready.append(member)
                yield Ready(member, answer)
            else:
                yield Answered(member, index, inputs, answer)

    def refuse(self, node: Node, fault: str) -> None:
        """Give the node no more cases. fault: why. What its workers have is finished."""
        self.unfit[node.id] = f"{node.name} {fault}"

    def close(self) -> None:
        """End all workers."""
        for member in self.members:
            self._ray.kill(member.actor)
        self.members, self._ready, self._calls = [], [], {}

    def _fit(self) -> list[Node]:
        return [node for node in self.nodes.values() if node.id not in self.unfit]

    def _room(self, node: Node) -> Any:
        return room_on(node, self._opening.threads, self._gpu)

    def _start(self, node: Node) -> None:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        room = self._room(node)
        kind = self._ray.remote(
            num_cpus=room.processors,
            num_gpus=room.gpus,
            max_restarts=0,
            max_task_retries=0,
            scheduling_strategy=NodeAffinitySchedulingStrategy(node.id, soft=False),
        )(Worker)
        version = msdk_rt.__version__
        actor = kind.remote(self._opening, self._request, self._sign, version, max(1, room.processors))
        member = Member(actor, node)
        self.members.append(member)
        self._calls[actor.open.remote()] = (member, -1, ())

    def _gone(self, member: Member, error: Exception) -> Gone:
        """Take the worker off the crew, and see to it that it is gone indeed."""
        opening = member not in self._ready
        self._ray.kill(member.actor)
        self.members.remove(member)
        self._ready = [other for other in self._ready if other is not member]
        self._calls = {call: entry for call, entry in self._calls.items() if entry[0] is not member}
        self._looked = float("-inf")
        errors = self._ray.exceptions
        alive = member.node.id in nodes_of(self._ray)
        died = isinstance(error, errors.ActorDiedError) and "node has died" not in str(error) and alive
        if not died:
            self._avoided[member.node.id] = time.monotonic() + AVOID_FOR
        elif opening:
            self._deaths[member.node.id] += 1
            if self._deaths[member.node.id] >= MOST_DEATHS_OPENING:
                self.refuse(
                    member.node,
                    f"lost {MOST_DEATHS_OPENING} workers that opened the model ({_detail(error)})",
                )
        return Gone(member, not died, _detail(error))


def _detail(error: Exception) -> str:
    """What Ray says of a dead worker, without its advice."""
    text = one_line(error).partition("Some common causes")[0].strip()
    return (text.rpartition("exit detail: ")[2] or text)[-MOST_DETAIL:]

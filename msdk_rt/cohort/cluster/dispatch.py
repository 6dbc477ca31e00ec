"""Which case goes to which worker, and what becomes of the cases of a worker that is gone."""

from collections import Counter, deque
from collections.abc import Hashable, Sequence
from typing import Generic, TypeVar

IN_FLIGHT = 3  # one is read, one is in the network, one is written
MOST_KILLS = 2
MOST_LOST_NODES = 4

Member = TypeVar("Member", bound=Hashable)


class Dispatch(Generic[Member]):
    """Gives out the cases 0..count-1, each until it is done or given up.

    A case whose worker died is a suspect: it is tried again in a worker that has no other case, so that what
    kills a worker takes no other case along. Two deaths, or four lost nodes, and it is given up.
    """

    def __init__(self, count: int):
        self._waiting = deque(range(count))
        self._suspects: deque[int] = deque()
        self._of_member: dict[Member, list[int]] = {}
        self._kills: Counter[int] = Counter()
        self._losses: Counter[int] = Counter()

    @property
    def unfinished(self) -> int:
        """Cases that are neither done nor given up."""
        held = sum(map(len, self._of_member.values()))
        return len(self._waiting) + len(self._suspects) + held

    def queued(self) -> list[int]:
        """Cases that no worker has."""
        return [*self._waiting, *self._suspects]

    def held(self, member: Member) -> tuple[int, ...]:
        """Cases that the worker has."""
        return tuple(self._of_member.get(member, ()))

    def next_for(self, members: Sequence[Member]) -> tuple[Member, int] | None:
        """A worker and its next case, the worker with the fewest first; None where nothing can be given."""
        for member in sorted(members, key=lambda one: len(self.held(one))):
            held = self.held(member)
            if any(self._suspect(case) for case in held):
                continue
            if self._suspects and not held:
                return self._hand(member, self._suspects.popleft())
            if self._waiting and len(held) < IN_FLIGHT:
                return self._hand(member, self._waiting.popleft())
        return None

    def done(self, member: Member, case: int) -> None:
        """The case has an outcome."""
        self._of_member[member].remove(case)

    def given_back(self, member: Member, case: int) -> None:
        """The worker could not try the case, which is not the case's fault."""
        self.done(member, case)
        (self._suspects if self._suspect(case) else self._waiting).appendleft(case)

    def drop(self, case: int) -> None:
        """A queued case will not be tried."""
        (self._suspects if case in self._suspects else self._waiting).remove(case)

    def lost(self, member: Member, with_node: bool) -> list[int]:
        """The worker is gone, by itself or with its node. Returns the cases that are given up."""
        held = self._of_member.pop(member, [])
        (self._losses if with_node else self._kills).update(held)
        for case in held:
            if not self._hopeless(case):
                (self._suspects if self._suspect(case) else self._waiting).appendleft(case)
        return [case for case in held if self._hopeless(case)]

    def _hand(self, member: Member, case: int) -> tuple[Member, int]:
        self._of_member.setdefault(member, []).append(case)
        return member, case

    def _suspect(self, case: int) -> bool:
        return self._kills[case] > 0 or self._losses[case] > 1

    def _hopeless(self, case: int) -> bool:
        return self._kills[case] >= MOST_KILLS or self._losses[case] >= MOST_LOST_NODES

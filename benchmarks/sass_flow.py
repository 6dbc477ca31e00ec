"""Ways through a kernel's blocks: which block follows which, and the best way around a loop."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, eq=False)
class Loop:
    """first: the block that every turn begins with. latches: the blocks that go back to it."""

    first: int
    latches: frozenset[int]
    blocks: frozenset[int]

    def holds(self, other: "Loop") -> bool:
        return self is not other and other.blocks < self.blocks


def loops_of(successors: list[set[int]]) -> list[Loop]:
    """Every natural loop, the larger ones first, without endless ones: those fill up the end of a section."""
    dominators = dominators_of(successors)
    predecessors = predecessors_of(successors)
    latches: dict[int, set[int]] = {}
    for block, following in enumerate(successors):
        for first in following & dominators[block]:
            latches.setdefault(first, set()).add(block)
    found = []
    for first, last in latches.items():
        inside, waiting = {first}, list(last - {first})
        while waiting:
            block = waiting.pop()
            if block not in inside:
                inside.add(block)
                waiting += predecessors[block]
        if any(successors[block] - inside for block in inside):
            found.append(Loop(first, frozenset(last), frozenset(inside)))
    return sorted(found, key=lambda loop: -len(loop.blocks))


def best_way(
    loop: Loop,
    successors: list[set[int]],
    stands_for: dict[int, int],
    worth: Callable[[int], tuple[int, int]],
) -> list[int]:
    """Blocks from the loop's first to a latch whose worth sums to most; an inner loop is its first block."""
    after: dict[int, set[int]] = {}
    for block in loop.blocks:
        node = stands_for.get(block, block)
        inside = {stands_for.get(to, to) for to in successors[block] & loop.blocks if to != loop.first}
        after.setdefault(node, set()).update(inside - {node})
    latches = {stands_for.get(block, block) for block in loop.latches}
    values = {node: worth(node) for node in after}
    best: dict[int, tuple[int, int]] = {}
    come_from: dict[int, int] = {}
    for node in topological(loop.first, after):
        mine = best.setdefault(node, values[node])
        for to in after[node]:
            through = (mine[0] + values[to][0], mine[1] + values[to][1])
            if to not in come_from or through > best[to]:
                best[to], come_from[to] = through, node
    way = [max(latches & best.keys(), key=best.__getitem__)]
    while way[-1] != loop.first:
        way.append(come_from[way[-1]])
    return way[::-1]


def topological(first: int, after: dict[int, set[int]]) -> list[int]:
    order: list[int] = []
    seen, stack = {first}, [(first, iter(sorted(after[first])))]
    while stack:
        node, following = stack[-1]
        to = next(following, None)
        if to is None:
            order.append(node)
            stack.pop()
        elif to not in seen:
            seen.add(to)
            stack.append((to, iter(sorted(after[to]))))
    return order[::-1]


def predecessors_of(successors: list[set[int]]) -> list[set[int]]:
    predecessors: list[set[int]] = [set() for _ in successors]
    for block, following in enumerate(successors):
        for to in following:
            predecessors[to].add(block)
    return predecessors


def dominators_of(successors: list[set[int]]) -> list[set[int]]:
    """For each block that can be reached, those that every way to it goes through."""
    order = topological(0, dict(enumerate(successors)))
    predecessors = predecessors_of(successors)
    found: list[set[int]] = [set() for _ in successors]
    for block in order:
        found[block] = set(order)
    found[0], changed = {0}, True
    while changed:
        changed = False
        for block in order[1:]:
            before = [found[one] for one in predecessors[block] if found[one]]
            now = set.intersection(*before) | {block}
            if now != found[block]:
                found[block], changed = now, True
    return found

"""The report of a command on a GPU: a line a step while it runs, a page and its tables as CSV at the end."""

import csv
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

PASSED, FAILED, SKIPPED = "passed", "FAILED", "skipped"


class Skip(Exception):
    """A step cannot run here, for the reason in it."""


@dataclass(frozen=True)
class Outcome:
    step: str
    state: str
    detail: str
    seconds: float


@dataclass
class Report:
    """The outcomes so far, what was measured, and what is known of the machine."""

    title: str
    folder: Path | None = None  # where the report is written after every step: a crash keeps those before it
    only: tuple[str, ...] = ()  # the steps to run: those whose names hold one of these; none: every step
    outcomes: list[Outcome] = field(default_factory=list)
    machine: dict[str, str] = field(default_factory=dict)
    tables: dict[str, list[dict[str, str | float]]] = field(default_factory=dict)

    def run(self, step: str, action: Callable[[], str]) -> bool:
        """Runs one step, whose result is its detail; True if it passed, or is none of those to run."""
        if self.only and not any(words in step for words in self.only):
            return True
        print(f"{step} ...", flush=True)
        start = time.perf_counter()
        try:
            state, detail = PASSED, action()
        except Skip as skip:
            state, detail = SKIPPED, str(skip)
        except Exception as failure:
            traceback.print_exc()
            state, detail = FAILED, f"{type(failure).__name__}: {failure}"
        outcome = Outcome(step, state, detail, time.perf_counter() - start)
        self._keep(outcome)
        print(f"{step}: {state} in {outcome.seconds:.1f} s: {detail}", flush=True)
        return state == PASSED

    def _keep(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)
        if self.folder is not None:
            self.write(self.folder)

    def skip(self, step: str, reason: str) -> None:
        self._keep(Outcome(step, SKIPPED, reason, 0.0))
        print(f"{step}: skipped: {reason}", flush=True)

    def add(self, table: str, row: dict[str, str | float]) -> None:
        """A row of a table whose rows all have the same columns."""
        self.tables.setdefault(table, []).append(row)

    @property
    def failed(self) -> bool:
        return any(outcome.state == FAILED for outcome in self.outcomes)

    def write(self, folder: Path) -> None:
        """summary.md, and each table as a CSV with the machine's columns in every row."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "summary.md").write_text(self.summary())
        for name, rows in self.tables.items():
            with open(folder / f"{name}.csv", "w", newline="") as file:
                writer = csv.DictWriter(file, [*rows[0], *self.machine])
                writer.writeheader()
                writer.writerows({**row, **self.machine} for row in rows)

    def summary(self) -> str:
        """One page of Markdown."""
        lines = [f"# {self.title}", "", "| | |", "| --- | --- |"]
        lines += [f"| {name} | {cell(value)} |" for name, value in self.machine.items()]
        lines += ["", "| step | state | s | detail |", "| --- | --- | ---: | --- |"]
        lines += [f"| {o.step} | {o.state} | {o.seconds:.1f} | {cell(o.detail)} |" for o in self.outcomes]
        for name, rows in self.tables.items():
            lines += ["", f"## {name}", ""]
            lines += [f"| {' | '.join(rows[0])} |", f"| {' | '.join('---' for _ in rows[0])} |"]
            lines += [f"| {' | '.join(cell(value) for value in row.values())} |" for row in rows]
        return "\n".join([*lines, ""])

    def finish(self, folder: Path) -> None:
        """Write the report and show the page."""
        self.write(folder)
        print(f"\n{self.summary()}\nwritten to {folder}")


def cell(value: str | float) -> str:
    """Text that fits a table's cell: one line, short, no bars."""
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return " ".join(text.split()).replace("|", "/")[:300]

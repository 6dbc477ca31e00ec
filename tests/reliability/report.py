"""Keeps the results of campaigns in tests/reliability/results/<campaign>.csv, and writes their page."""

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from benchmarks.measure import append_rows
from benchmarks.report import origin, read

RESULTS = Path(__file__).resolve().parent / "results"
PAGE = RESULTS.parents[2] / "docs" / "explanation" / "reliability.md"
HEAD = """# Reliability

`make reliability` writes this page from [tests/reliability/results](../../tests/reliability/results), which
keeps every run's figures. Each campaign promises something; a failure is a case that broke the promise. The
tables show the latest run. `make test` runs a quick slice of each campaign.
"""


@dataclass(frozen=True)
class Row:
    """what was done, `times` often; `failures` broke the promise; outcome: what became of the rest."""

    what: str
    times: int
    failures: int
    outcome: str


def record(campaign: str, rows: Sequence[Row]) -> None:
    """Keep the rows with machine, versions and commit."""
    columns = tuple(field.name for field in fields(Row))
    append_rows(RESULTS / f"{campaign}.csv", columns, [astuple(row) for row in rows])


def write(campaigns: Mapping[str, str]) -> None:
    """Rewrite the page. A campaign's module has main(quick), which yields rows, a docstring that says what is
    promised, and FOUND, what the campaign found in msdk_rt while it was written.
    """
    sections = [HEAD]
    for name, title in campaigns.items():
        if rows := read(name, RESULTS):
            module = importlib.import_module(f"tests.reliability.{name}")
            sections += _section(f"{title[0].upper()}{title[1:]}", module.__doc__, rows, module.FOUND)
    PAGE.write_text("\n".join(sections), encoding="utf-8")


def _section(title: str, promise: str, rows: list[dict], found: Sequence[str]) -> list[str]:
    last = {row["what"]: row for row in rows}
    lines = [f"## {title}\n", f"{promise.strip()}\n", f"{origin(rows[-1])}\n"]
    lines += ["| what | times | failures | outcome |", "| --- | --- | --- | --- |"]
    lines += [
        f"| {row['what']} | {row['times']} | {row['failures']} | {row['outcome']} |" for row in last.values()
    ]
    lines += ["", *(["Found in msdk_rt on the way, and mended:\n"] if found else [])]
    return [*lines, *(f"- {sentence}" for sentence in found), ""]

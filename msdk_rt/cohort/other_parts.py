"""The reports of the other jobs that share a cohort: what failed there, and what they had split."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from msdk_rt.cohort.part import Part
from msdk_rt.cohort.plan import Plan


def report_name(part: Part) -> str:
    """Of the file in the results' folder."""
    return "report.json" if part.count == 1 else f"report.{part}.json"


def cohort_of(plan: Plan) -> dict[str, Any]:
    """What was split into parts: counts, and a hash of all names. Jobs that differ here may lose a case."""
    cases = sorted(case.name for case in plan.cases + plan.other_cases)
    left_out = sorted(str(entry.path.name) for entry in plan.left_out + plan.other_left_out)
    names = json.dumps([cases, left_out])
    return {
        "cases": len(cases),
        "left_out": len(left_out),
        "sha256": hashlib.sha256(names.encode()).hexdigest(),
    }


def failures_elsewhere(plan: Plan) -> dict[str, str]:
    """{case: why it failed} by the reports of the other parts."""
    return {
        str(case["case"]): str(case["error"])
        for _, report in _reports(plan)
        for case in _dicts(report.get("cases"))
        if "case" in case and "error" in case
    }


def split_otherwise(plan: Plan) -> list[str]:
    """A sentence for each other part whose job found other cases than this one."""
    mine = cohort_of(plan)
    sentences = []
    for part, report in _reports(plan):
        theirs = report.get("cohort")
        if isinstance(theirs, dict) and theirs != mine:
            sentences.append(
                f"part {part.index}/{part.count} was split from {theirs.get('cases')} cases and "
                f"{theirs.get('left_out')} other entries, this part from {mine['cases']} and "
                f"{mine['left_out']}: the folder changed in between, or is not the same everywhere. Run all "
                "parts again; what is done is kept"
            )
    return sentences


def _reports(plan: Plan) -> Iterator[tuple[Part, dict[str, Any]]]:
    """The reports of the other parts, as far as they can be read."""
    if plan.folder is None:
        return
    for index in range(1, plan.part.count + 1):
        part = Part(index, plan.part.count)
        if part != plan.part:
            yield part, _report(plan.folder / report_name(part))


def _report(path: Path) -> dict[str, Any]:
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return entries if isinstance(entries, dict) else {}


def _dicts(entries: object) -> list[dict[str, Any]]:
    return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []

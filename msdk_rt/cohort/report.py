"""The outcome of a cohort: a report of JSON types; report.json, volumes.tsv and qc.html among the results.

Jobs that share a cohort (`--part`) each write their own report. Each job makes the table and the page again,
under a lock, from all results so far.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msdk_rt
from msdk_rt.artifact.files import atomic_write, folder_lock
from msdk_rt.cohort.cases import Case, LeftOut
from msdk_rt.cohort.other_parts import cohort_of, failures_elsewhere, report_name
from msdk_rt.cohort.page import HTML_START, page
from msdk_rt.cohort.plan import Plan
from msdk_rt.cohort.records import Request, read_record
from msdk_rt.cohort.run import Outcome
from msdk_rt.cohort.volumes import MOST_DEVIATIONS, robust_scores
from msdk_rt.errors import OutputError, writable

COLUMNS = ("case", "label", "voxels", "ml", "spacing", "warnings")
TSV_START = "\t".join(COLUMNS) + "\n"
JSON_START = '{\n  "msdk_rt":'


@dataclass
class Line:
    """A case or an entry that is none, as table and page show it.

    error: why there is no result. record: of the result, empty where there is none. outliers: {label: how
    many deviations its volume lies from the cohort's median} where that is too many. picture: a PNG file.
    """

    name: str
    error: str = ""
    record: dict[str, Any] = field(default_factory=dict)
    outliers: dict[str, float] = field(default_factory=dict)
    picture: Path | None = None

    def warnings(self) -> list[str]:
        """The case's own and what its volumes say."""
        side = {True: "above", False: "below"}
        outliers = [
            f"{label}: {abs(score):.1f} deviations {side[score > 0]} the cohort's median"
            for label, score in self.outliers.items()
        ]
        return [*self.record.get("warnings", []), *outliers]


def report(plan: Plan, outcomes: Sequence[Outcome], request: Request, **run: Any) -> dict[str, Any]:
    """Every case and every entry that is none, of JSON types. run: what else is to be said of the run."""
    return {
        "msdk_rt": msdk_rt.__version__,
        **run,
        "settings": request.settings,
        "part": f"{plan.part.index}/{plan.part.count}",
        "cohort": cohort_of(plan),
        "cases": [_case_entry(outcome, request) for outcome in outcomes],
        "left_out": [
            {"path": entry.place, "reason": entry.reason, "harmless": entry.harmless}
            for entry in plan.left_out
        ],
    }


def is_complete(plan: Plan, outcomes: Sequence[Outcome]) -> bool:
    """Whether every entry that may have been a case has a result."""
    return not any(outcome.error for outcome in outcomes) and all(entry.harmless for entry in plan.left_out)


def check_summary_places(folder: Path) -> None:
    """Raise OutputError where somebody else's file has the name of one of ours."""
    for name, start in (("volumes.tsv", TSV_START), ("qc.html", HTML_START), ("report.json", JSON_START)):
        path = folder / name
        try:
            with path.open("rb") as file:
                found = file.read(len(start))
        except OSError:
            continue
        if found and found != start.encode():
            raise OutputError(
                f"{path} would be replaced, and no msdk-rt wrote it: move it away, or give another output"
            )


def write_summary(plan: Plan, outcomes: Sequence[Outcome], request: Request, entries: dict[str, Any]) -> None:
    """Write report.json (report.<part>.json for a part), volumes.tsv and qc.html into the plan's folder.

    entries: what `report` gave. A single case that failed leaves no files. Raises OutputError.
    """
    count = len(plan.cases + plan.other_cases) + len(plan.left_out + plan.other_left_out)
    if plan.folder is None or (count == 1 and not is_complete(plan, outcomes)):
        return
    with folder_lock(plan.folder):
        with atomic_write(plan.folder / report_name(plan.part), "w") as file:
            json.dump(entries, file, indent=2)
            file.write("\n")
        lines = _lines(plan, outcomes, request)
        with atomic_write(plan.folder / "volumes.tsv", "w") as file:
            file.write(writable(volumes_table(lines)))
        with atomic_write(plan.folder / "qc.html", "w") as file:
            file.writelines(map(writable, page(lines, request.labels)))


def volumes_table(lines: Sequence[Line]) -> str:
    """One row a case and label, tab-separated; n/a where there is no result."""
    rows = []
    for line in lines:
        if line.error:
            rows.append((line.name, "n/a", "n/a", "n/a", "n/a", line.error))
            continue
        sides = "x".join(f"{side:g}" for side in line.record["spacing_mm"])
        warned = "; ".join(line.warnings()) or "n/a"
        for label, count in line.record["labels"].items():
            rows.append((line.name, label, str(count["voxels"]), f"{count['ml']:g}", sides, warned))
    return TSV_START + "".join("\t".join(" ".join(cell.split()) for cell in row) + "\n" for row in rows)


def _case_entry(outcome: Outcome, request: Request) -> dict[str, Any]:
    case, record = outcome.case, outcome.record
    inputs = [case.shown(path) for path in case.inputs]
    entry = {"case": case.name, "inputs": inputs, "output": case.shown(case.output)}
    if outcome.error:
        return entry | {"error": outcome.error}
    if request.probabilities:
        entry["probabilities"] = case.shown(case.probabilities)
    done = {"kept": True} if outcome.kept else {"seconds": round(outcome.seconds, 3)}
    return entry | done | {name: record[name] for name in ("shape", "spacing_mm", "labels", "warnings")}


def _lines(plan: Plan, outcomes: Sequence[Outcome], request: Request) -> list[Line]:
    """A line for every case of the cohort and every entry left out, those without a result first."""
    lines = [_line(outcome.case, outcome.error, outcome.record) for outcome in outcomes]
    failed = failures_elsewhere(plan)
    for case in plan.other_cases:
        record = read_record(case) if case.output.exists() else None
        if record and (record.get("model"), record.get("settings")) == (request.model, request.settings):
            lines.append(_line(case, "", record))
        else:
            lines.append(_line(case, failed.get(case.name, "not segmented yet, another part has it"), {}))
    entries: list[LeftOut] = [*plan.left_out, *plan.other_left_out]
    lines += [Line(entry.path.name, entry.reason) for entry in entries if not entry.harmless]
    _flag_outliers([line for line in lines if line.record], request.labels)
    return sorted(lines, key=lambda line: (not line.error, not line.outliers, line.name))


def _line(case: Case, error: str, record: dict[str, Any]) -> Line:
    return Line(case.name, error, record, picture=case.picture)


def _flag_outliers(lines: Sequence[Line], labels: dict[str, int]) -> None:
    for label, value in labels.items():
        if value == 0:
            continue
        scores = robust_scores([line.record["labels"][label]["ml"] for line in lines])
        for line, score in zip(lines, scores, strict=True):
            if abs(score) > MOST_DEVIATIONS:
                line.outliers[label] = round(score, 1)

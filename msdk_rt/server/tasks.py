"""The lines that the server and its worker exchange: JSON objects, one a line."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from msdk_rt.cohort.opening import Opening

LONGEST_LINE = 16 << 20  # bytes; a record with some thousand labels has one


@dataclass(frozen=True)
class Task:
    """A case for the worker. model: its name. inputs: files in the order of the channels, or one DICOM zip.
    series: rules as `msdk-rt run --series` takes them. output: of the labels. view: a folder for the page
    that shows them, "" for none.
    """

    job: str
    model: str
    inputs: tuple[str, ...]
    series: tuple[str, ...]
    output: str
    view: str = ""


def task_line(task: Task) -> bytes:
    return line({"task": asdict(task)})


def task_of(entries: Mapping[str, Any]) -> Task:
    return Task(**{**entries, "inputs": tuple(entries["inputs"]), "series": tuple(entries["series"])})


def opening_entries(opening: Opening) -> dict[str, Any]:
    return {**asdict(opening), "path": str(opening.path)}


def opening_of(entries: Mapping[str, Any]) -> Opening:
    lists = {name: tuple(entries[name]) for name in ("providers", "mirror_axes") if entries[name] is not None}
    return Opening(**{**entries, **lists, "path": Path(entries["path"])})


def line(message: Mapping[str, Any]) -> bytes:
    return json.dumps(message).encode() + b"\n"

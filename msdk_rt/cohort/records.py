"""The record of a result: a JSON file beside it, which decides whether an earlier result can be kept.

The record holds hashes of the result's files, so that a result that was cut, edited or replaced is noticed.
It is put in place in one step with them: see msdk_rt.cohort.results.
"""

import dataclasses
import hashlib
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msdk_rt
from msdk_rt.artifact.manifest import Manifest, sha256_of
from msdk_rt.artifact.recipe_rules import NEW_ENTRIES
from msdk_rt.cohort.cases import NPZ, Case
from msdk_rt.cohort.remote import store
from msdk_rt.cohort.remote.staging import fetch_inputs
from msdk_rt.errors import InputError, one_line
from msdk_rt.imaging.volumes import check_result

KEY = "Provenance"
FORMAT_VERSION = 1
MOST_BYTES = 4 << 20
LIBRARIES = ("numpy", "nibabel", "onnxruntime", "tensorrt")
ENTRIES = {
    "model": dict,
    "settings": dict,
    "inputs": list,
    "files": dict,
    "shape": list,
    "spacing_mm": list,
    "labels": dict,
    "warnings": list,
}
# A manifest's entries about its own history; all other entries shape the result.
HISTORY = ("parity", "created_by", "notes", "spacing")


@dataclass(frozen=True)
class Request:
    """A request for results. model, settings: what shapes them, compared with a record's; JSON types.

    providers, threads, batch_size and the versions of libraries round differently at most: a record names
    them and they are not compared. reader_axes: of probabilities in nnU-Net's files, see
    msdk_rt.cohort.nnunet_files.
    """

    model: dict[str, str]
    settings: dict[str, Any]
    made_with: dict[str, Any]
    labels: dict[str, int]
    probabilities: bool = False
    overwrite: bool = False
    reader_axes: str = ""


def model_of(manifest: Manifest) -> dict[str, str]:
    """Which model it is: the artifact's hash, and that of everything else that shapes a result."""
    entries = {
        name: value
        for name, value in dataclasses.asdict(manifest).items()
        if name not in HISTORY and (value or name not in NEW_ENTRIES)
    }
    recipe = hashlib.sha256(json.dumps(entries, sort_keys=True).encode()).hexdigest()
    return {"family": manifest.family, "sha256": manifest.sha256, "recipe_sha256": recipe}


def versions() -> dict[str, str]:
    """Of msdk_rt, Python and the libraries that this process uses."""
    loaded = {
        name: str(sys.modules[name].__version__)
        for name in LIBRARIES
        if hasattr(sys.modules.get(name), "__version__")
    }
    return {"msdk_rt": msdk_rt.__version__, "python": sys.version.split()[0], **loaded}


def identity(case: Case) -> list[dict[str, Any]]:
    """Name, size and time of each input; of a folder all files and the newest; of a URL what its store says.

    A choice of a series is told by its hash, since a description may say whose it is. Raises InputError.
    """
    try:
        entries = [_state(path, case) for path in case.inputs]
    except OSError as error:
        raise InputError(f"cannot read {error.filename}: {error.strerror or error}") from error
    for entry, choice in zip(entries, case.choices, strict=False):
        if choice:
            entry["series_sha256"] = hashlib.sha256(choice.encode()).hexdigest()
    return entries


def shared_identity(case: Case) -> list[dict[str, Any]]:
    """The identity of inputs that all machines must see at the same path; of URLs nothing."""
    return [] if case.mirror and case.mirror.url(case.inputs[0]) else identity(case)


def _state(path: Path, case: Case) -> dict[str, Any]:
    if url := case.mirror and case.mirror.url(path):
        return store.state(url)
    if not path.is_dir():
        state = path.stat()
        return {"file": path.name, "bytes": state.st_size, "mtime_ns": state.st_mtime_ns}
    states = [file.stat() for file in path.rglob("*") if file.is_file()]
    return {
        "file": path.name,
        "files": len(states),
        "bytes": sum(state.st_size for state in states),
        "mtime_ns": max((state.st_mtime_ns for state in states), default=0),
    }


def read_record(case: Case) -> dict[str, Any] | None:
    """The provenance of the case's result; None where there is none that can be read."""
    try:
        with case.record.open("rb") as file:
            entries = json.loads(file.read(MOST_BYTES))
    except (OSError, ValueError, RecursionError):
        return None
    record = entries.get(KEY) if isinstance(entries, dict) else None
    if not isinstance(record, dict) or record.get("format_version") != FORMAT_VERSION:
        return None
    return record if all(isinstance(record.get(name), kind) for name, kind in ENTRIES.items()) else None


@dataclass(frozen=True)
class Earlier:
    """An earlier result of a case. kept: its record, if it can be kept. fault: why not, "" for no result."""

    kept: dict[str, Any] | None = None
    fault: str = ""


def earlier(case: Case, request: Request) -> Earlier:
    """Whether the same model, settings and input made the result that is there.

    Raises InputError for a whole result of which that cannot be told: it may be somebody's work.
    """
    if request.overwrite or not case.output.exists():
        return Earlier()
    record = read_record(case)
    if record and _holds(record, case.output):
        difference = _difference(record, case, request)
        return Earlier(fault=difference) if difference else Earlier(kept=record)
    if request.probabilities and not case.probabilities.exists():
        return Earlier(fault=f"{case.probabilities} is missing")
    first = "".join(case.choices[:1])
    fetch_inputs(case)
    try:
        check_result(case.output, case.inputs[0], 1, first)
    except InputError as error:
        return Earlier(fault=f"what was there is no whole result: {one_line(error)}")
    if record and record.get("replaces") == sha256_of(case.output):
        return Earlier(fault="its replacement was interrupted")
    was = "was changed since it was made" if record else f"has no record {case.record.name} of what made it"
    raise InputError(
        f"{case.shown(case.output)} {was}: --overwrite replaces it; else move it away, or choose another "
        "output"
    )


def _holds(record: dict[str, Any], path: Path) -> bool:
    """Whether the file is the one that the record was written for."""
    return bool(record["files"].get(path.name) == sha256_of(path))


def _difference(record: dict[str, Any], case: Case, request: Request) -> str:
    """How the record's result differs from what is asked for, "" if it does not."""
    if record.get("model") != request.model:
        return "another model made what was there"
    if record.get("settings") != request.settings:
        return f"what was there was made with {record.get('settings')}, not {request.settings}"
    inputs = identity(case)
    if record.get("inputs") != inputs:
        return "its input has changed since"
    if any("url" in entry and entry["version"] is None for entry in inputs):
        return "the store does not tell whether its input has changed"
    if request.probabilities and not case.probabilities.exists():
        return f"{case.probabilities} is missing"
    if request.probabilities and not _holds(record, case.probabilities):
        if case.probabilities.suffix != NPZ:
            choice = "".join(case.choices[:1])
            fetch_inputs(case)
            try:
                check_result(case.probabilities, case.inputs[0], len(request.labels), choice)
            except InputError as error:
                return f"what was there is no whole result: {one_line(error)}"
        return f"{case.probabilities} was changed since it was made"
    return ""

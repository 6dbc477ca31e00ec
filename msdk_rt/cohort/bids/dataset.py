"""The cases of a BIDS dataset: each run of each session of each subject that has all channels."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from msdk_rt.cohort.bids.query import BidsFile, Query, parse_file
from msdk_rt.cohort.cases import LeftOut, file_fault
from msdk_rt.errors import InputError
from msdk_rt.imaging.formats import is_image_name

DESCRIPTION = "dataset_description.json"


@dataclass(frozen=True)
class Session:
    """A session, or all of a subject without any. name: `sub-01_ses-1`. folder: of its datatypes."""

    name: str
    folder: Path


@dataclass(frozen=True)
class BidsCase:
    """name: `sub-01_ses-1_run-2`. place: of its session below the dataset. files: one per channel."""

    name: str
    place: Path
    files: tuple[Path, ...]


def find_in_dataset(
    dataset: Path, channels: Sequence[str], queries: Sequence[Query], participants: Collection[str]
) -> tuple[list[BidsCase], list[LeftOut]]:
    """The cases in a dataset, and the sessions and runs that are none with the reason.

    queries: which files each channel is. participants: labels without `sub-`; all where there are none.
    Raises InputError for a folder that is no BIDS dataset.
    """
    if not (dataset / DESCRIPTION).is_file():
        raise InputError(f"{dataset} is no BIDS dataset: it has no {DESCRIPTION}")
    subjects = {path.name: path for path in sorted(dataset.glob("sub-*")) if path.is_dir()}
    asked = [f"sub-{label}" for label in participants] or list(subjects)
    if not asked:
        raise InputError(f"{dataset} has no folder sub-<label>")
    cases: list[BidsCase] = []
    left_out = [LeftOut(dataset / name, "is not in the dataset") for name in asked if name not in subjects]
    for name, subject in subjects.items():
        if name in asked:
            for session in _sessions(subject):
                found, rest = _cases_of(session, dataset, channels, queries)
                cases += found
                left_out += rest
    return cases, left_out


def _sessions(subject: Path) -> list[Session]:
    folders = [path for path in sorted(subject.glob("ses-*")) if path.is_dir()]
    sessions = [Session(f"{subject.name}_{path.name}", path) for path in folders]
    return sessions or [Session(subject.name, subject)]


def _cases_of(
    session: Session, dataset: Path, channels: Sequence[str], queries: Sequence[Query]
) -> tuple[list[BidsCase], list[LeftOut]]:
    images = [parse_file(path) for path in sorted(session.folder.glob("*/*")) if is_image_name(path)]
    by_run = [_by_run(query, images) for query in queries]
    missing = [
        f"{channel} ({query})"
        for channel, query, files in zip(channels, queries, by_run, strict=True)
        if not files
    ]
    if missing:
        return [], [LeftOut(session.folder, f"has no file for the channel {', '.join(missing)}")]
    cases, left_out = [], []
    for run in _runs(by_run):
        name = f"{session.name}_run-{run}" if run else session.name
        chosen = [files.get(run) or _shared(files) for files in by_run]
        if reason := _fault(chosen, channels, queries):
            left_out.append(LeftOut(session.folder / name, reason))
        else:
            place = session.folder.relative_to(dataset)
            cases.append(BidsCase(name, place, tuple(files[0].path for files in chosen)))
    return cases, left_out


def _by_run(query: Query, images: Sequence[BidsFile]) -> dict[str, list[BidsFile]]:
    """{run, "" where the name has none: files}."""
    files: dict[str, list[BidsFile]] = defaultdict(list)
    for image in images:
        if query.takes(image):
            files[image.entities.get("run", "")].append(image)
    return dict(files)


def _runs(by_run: Sequence[dict[str, list[BidsFile]]]) -> list[str]:
    """All runs of a session. A channel without runs belongs to each of those that others have."""
    runs = {run for files in by_run for run in files}
    if len(runs) > 1 and all(len(files) == 1 for files in by_run if "" in files):
        runs.discard("")
    return sorted(runs)


def _shared(files: dict[str, list[BidsFile]]) -> list[BidsFile]:
    """What a channel without runs gives every run."""
    return files[""] if files.keys() == {""} else []


def _fault(chosen: Sequence[list[BidsFile]], channels: Sequence[str], queries: Sequence[Query]) -> str:
    """Why these files are no case, "" if they are."""
    for files, channel, query in zip(chosen, channels, queries, strict=True):
        if not files:
            return f"has no file for the channel {channel} ({query})"
        if len(files) > 1:
            names = ", ".join(file.path.name for file in files)
            return (
                f"has {len(files)} files for the channel {channel} ({names}): say which, as in --channel "
                f"{channel}=acq-highres_{query}"
            )
        if fault := file_fault(files[0].path):
            return f"has {files[0].path.name}, which {fault}"
    return ""

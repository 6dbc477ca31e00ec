"""The cases in a folder: every entry belongs to one, or is left out with its reason."""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from msdk_rt.cohort.cases import LeftOut, file_fault, name_fault
from msdk_rt.cohort.series import Rules, is_dicom, spread
from msdk_rt.errors import InputError
from msdk_rt.imaging.formats import SUFFIXES, is_image_name, stem

CHANNEL = re.compile(r"(.+)_(\d{4})", re.DOTALL)
ARCHIVE = ".zip"
SYSTEM_FILES = (".DS_Store", "Thumbs.db", "desktop.ini")
SIDECARS = (".json", ".bval", ".bvec", ".txt", ".tsv")


@dataclass(frozen=True)
class FoundCase:
    """name: without channel and suffix. files: one per channel, in order. choices: the series of each."""

    name: str
    files: tuple[Path, ...]
    choices: tuple[str, ...] = ()


def find_in_folder(
    folder: Path, channels: Sequence[str], output: Path, rules: Rules | None = None
) -> tuple[list[FoundCase], list[LeftOut]]:
    """The cases in `folder`, and all its other entries with the reason why they are none; both in order.

    A file of a model with several channels is named <case>_<channel index, 4 digits>.nii.gz, as nnU-Net names
    them. With one channel <case>.nii.gz and <case>_0000.nii.gz are the same case. Suffixes may be in capital
    letters. A folder or a zip of DICOM files counts as a file; where `rules` name the series of each channel
    it is a case by itself. The output folder is passed over where it lies inside. Raises InputError for a
    folder that cannot be read or is empty.
    """
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise InputError(
            f"cannot read the folder {folder}: {error.strerror or error}; make it readable"
        ) from error
    place, within = folder.resolve(), output.resolve()
    entries = [path for path in entries if not within.is_relative_to(place / path.name)]
    if not entries:
        raise InputError(f"{folder} holds no .nii or .nii.gz file: it is empty")
    left_out: list[LeftOut] = []
    files: dict[str, dict[int, list[Path]]] = defaultdict(lambda: defaultdict(list))
    others = []
    found = []
    for path in entries:
        if not is_image_name(path) and not _holds_series(path):
            others.append(path)
        elif reason := _image_fault(path):
            left_out.append(LeftOut(path, reason, harmless=path.name.startswith("._")))
        elif rules and not is_image_name(path):
            found.append(FoundCase(case_name(path), *spread(path, channels, rules)))
        else:
            name, index = _name_and_channel(path, len(channels))
            files[name][index].append(path)
    for name, by_channel in files.items():
        case, rest = _one_case(name, by_channel, channels)
        left_out += rest
        if case:
            found.append(case)
    stems = {_stem(path) for by_channel in files.values() for paths in by_channel.values() for path in paths}
    left_out += [_no_image(path, stems) for path in others]
    return sorted(found, key=lambda case: case.name), sorted(left_out, key=lambda entry: entry.path)


def case_name(path: Path) -> str:
    """Of a file given by itself: without suffix, and without nnU-Net's number of the first channel."""
    name = _stem(path)
    return name.removesuffix("_0000") or name


def _holds_series(path: Path) -> bool:
    """Whether it is a folder or a zip of DICOM files."""
    return (path.is_dir() or path.suffix.lower() == ARCHIVE) and is_dicom(path)


def _stem(path: Path) -> str:
    """The name without the suffix of an image or an archive; a folder's whole name."""
    if path.is_dir():
        return path.name or path.resolve().name
    return path.stem if path.suffix.lower() == ARCHIVE else stem(path)


def _image_fault(path: Path) -> str:
    if path.name.startswith("._"):
        return "is metadata of macOS, not an image"
    if path.name.startswith("."):
        return "is hidden, its name begins with a dot: rename it if it is a case"
    if not _stem(path):
        return "has no name before its suffix: rename it"
    return name_fault(_stem(path)) or ("" if path.is_dir() else file_fault(path))


def _name_and_channel(path: Path, channels: int) -> tuple[str, int]:
    """The index is -1 where the name has none and the model needs one."""
    match = CHANNEL.fullmatch(_stem(path))
    if match is None:
        return _stem(path), 0 if channels == 1 else -1
    return match[1], int(match[2])


def _one_case(
    name: str, files: dict[int, list[Path]], channels: Sequence[str]
) -> tuple[FoundCase | None, list[LeftOut]]:
    left_out = [
        LeftOut(path, _wrong_number(path, index, channels))
        for index, paths in files.items()
        if not 0 <= index < len(channels)
        for path in paths
    ]
    known = {index: paths for index, paths in files.items() if 0 <= index < len(channels)}
    twice = [index for index, paths in known.items() if len(paths) > 1]
    missing = [index for index in range(len(channels)) if index not in known]
    if twice:
        names = " and ".join(path.name for path in known[twice[0]])
        reason = (
            f"is of case {name}, which has {len(known[twice[0]])} files for channel {channels[twice[0]]} "
            f"({names}): keep one of them"
        )
    elif missing and known:
        lacking = ", ".join(f"{channels[index]} (_{index:04d})" for index in missing)
        reason = f"is of case {name}, which lacks the channel {lacking}: add it"
    elif missing:
        return None, left_out
    else:
        return FoundCase(name, tuple(known[index][0] for index in range(len(channels)))), left_out
    return None, left_out + [LeftOut(path, reason) for paths in known.values() for path in paths]


def _wrong_number(path: Path, index: int, channels: Sequence[str]) -> str:
    if index < 0:
        return (
            "does not say its channel: expected <case>_<channel index, 4 digits>.nii.gz, such as "
            f"{_stem(path)}_0000.nii.gz for {channels[0]}"
        )
    takes = ", ".join(f"_{known:04d} = {channel}" for known, channel in enumerate(channels))
    return (
        f"is channel {index} by its name, and the model takes {takes}: if _{index:04d} is no channel, give "
        "the files by name, or rename it"
    )


def _no_image(path: Path, stems: set[str]) -> LeftOut:
    if path.name in SYSTEM_FILES or path.name.startswith((".msdk-", "._")):
        return LeftOut(path, "is a file of the system, not an image", harmless=True)
    if reason := file_fault(path):
        return LeftOut(path, reason)
    if path.suffix.lower() in SIDECARS and path.stem in stems:
        return LeftOut(path, f"is metadata of {path.stem}, not an image", harmless=True)
    return LeftOut(path, f"is no image by its name: expected {' or '.join(SUFFIXES)}, convert it")

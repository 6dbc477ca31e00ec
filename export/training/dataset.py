"""A dataset folder: dataset.json in the form of the Medical Segmentation Decathlon or of nnU-Net v2.

Medical Segmentation Decathlon (http://medicaldecathlon.com): "modality" {"0": "FLAIR", ...}, "labels"
{"0": "background", ...}, "training" [{"image": "./imagesTr/a.nii.gz", "label": "./labelsTr/a.nii.gz"}, ...];
an image of several modalities is one 4D file, channels last.

nnU-Net v2 (its documentation/dataset_format.md): "channel_names" {"0": "T1", ...}, "labels" {"background": 0,
...}, "file_ending"; the images of a case are imagesTr/<case>_0000<ending>, _0001, ..., its label is
labelsTr/<case><ending>.

Both may hold "validation": cases to hold out, in the form of "training" or as a list of case names.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msdk_export.training.randomness import SPLIT, random_state
from msdk_rt.errors import InputError
from msdk_rt.imaging.formats import SUFFIXES, stem


@dataclass(frozen=True)
class CaseFiles:
    """One case on disk. images: one 4D file, or one file per channel."""

    name: str
    images: tuple[Path, ...]
    label: Path


@dataclass(frozen=True)
class Dataset:
    """The contents of a dataset folder; every file named exists.

    channels: modalities in order. labels: {name: voxel value}, ascending, background = 0 first; the index
    of a label is its logit channel. digest: SHA-256 of dataset.json and of the cases' names in their split.
    """

    channels: tuple[str, ...]
    labels: dict[str, int]
    training: tuple[CaseFiles, ...]
    validation: tuple[CaseFiles, ...]
    digest: str


def read_dataset(folder: str | Path, validation: float, seed: int) -> Dataset:
    """Read folder/dataset.json and split its cases.

    validation: cases to hold out where dataset.json does not say which: a fraction below 1 of all (at least
    one), or a count; chosen by seed. Raises InputError on a file that is missing, entries that are missing or
    contradict each other, and a split that leaves no case on either side.
    """
    path = Path(folder) / "dataset.json"
    description = _read_json(path)
    nnunet = "channel_names" in description
    channels = _channels(description, "channel_names" if nnunet else "modality", path)
    labels = _labels(description, path)
    cases = _nnunet_cases(description, path, len(channels)) if nnunet else _decathlon_cases(description, path)
    held_out = _explicit_validation(description, path, cases)
    cases |= held_out
    if not cases:
        raise InputError(f"{path} lists no training case: expected pairs of an image and its label")
    if not held_out:
        held_out = _random_validation(cases, validation, seed, path)
    training = tuple(case for name, case in cases.items() if name not in held_out)
    if not training:
        raise InputError(f"{path}: all {len(cases)} case(s) are held out for validation, leave at least one")
    for case in cases.values():
        if missing := [file for file in (*case.images, case.label) if not file.is_file()]:
            raise InputError(f"no file at {missing[0]}, which is case {case.name} of {path}")
    digest = hashlib.sha256(path.read_bytes())
    digest.update(json.dumps([[c.name for c in training], list(held_out)]).encode())
    return Dataset(channels, labels, training, tuple(held_out.values()), digest.hexdigest())


def _read_json(path: Path) -> dict[str, Any]:
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"cannot read {path}: {error}; expected a dataset folder of the Medical Segmentation Decathlon "
            "or of nnU-Net"
        ) from error
    if not isinstance(description, dict):
        raise InputError(f"{path} holds a {type(description).__name__}, expected an object")
    return description


def _channels(description: Mapping[str, Any], key: str, path: Path) -> tuple[str, ...]:
    channels = description.get(key)
    if not isinstance(channels, dict) or sorted(channels) != sorted(map(str, range(len(channels)))):
        raise InputError(
            f'{path}: expected "modality" or "channel_names" such as {{"0": "T1", "1": "T2"}}, got '
            f"{channels!r}"
        )
    if not channels:
        raise InputError(f"{path}: {key!r} names no channel, expected at least one")
    return tuple(str(channels[str(index)]) for index in range(len(channels)))


def _labels(description: Mapping[str, Any], path: Path) -> dict[str, int]:
    """{name: value}, ascending; the Decathlon's map has values as keys, nnU-Net's has names."""
    given = description.get("labels")
    if not isinstance(given, dict) or not given:
        raise InputError(f'{path}: expected "labels" such as {{"background": 0, "tumour": 1}}, got {given!r}')
    if all(key.isdecimal() for key in given):
        given = {str(name): int(value) for value, name in given.items()}
    for name, value in given.items():
        if not isinstance(value, int) or not 0 <= value < 2**15:
            raise InputError(
                f"{path}: label {name!r} is {value!r}, expected one voxel value (regions of several values "
                "and ignored labels are not trained: give every voxel one class)"
            )
    labels = dict(sorted(given.items(), key=lambda item: item[1]))
    values = list(labels.values())
    if values[0] != 0 or len(set(values)) < len(values) or not 2 <= len(values) <= 256:
        raise InputError(
            f"{path}: labels are {labels}, expected 2 to 256 of different values, the background 0 among them"
        )
    return labels


def _decathlon_cases(description: Mapping[str, Any], path: Path) -> dict[str, CaseFiles]:
    return _pairs(description.get("training"), "training", path)


def _pairs(entries: object, key: str, path: Path) -> dict[str, CaseFiles]:
    if not isinstance(entries, list):
        raise InputError(f'{path}: expected "{key}" to be a list of {{"image", "label"}}, got {entries!r}')
    cases = {}
    for entry in entries:
        if not isinstance(entry, dict) or not all(isinstance(entry.get(k), str) for k in ("image", "label")):
            raise InputError(f'{path}: {key} has {entry!r}, expected {{"image": file, "label": file}}')
        case = CaseFiles(stem(entry["label"]), (path.parent / entry["image"],), path.parent / entry["label"])
        if case.name in cases:
            raise InputError(f"{path}: {key} lists {case.name} twice, give each case its own label file")
        cases[case.name] = case
    return cases


def _nnunet_cases(description: Mapping[str, Any], path: Path, channels: int) -> dict[str, CaseFiles]:
    ending = description.get("file_ending", ".nii.gz")
    if ending not in SUFFIXES:
        raise InputError(f"{path}: file_ending is {ending!r}, expected one of {', '.join(SUFFIXES)}")
    names = sorted(file.name.removesuffix(ending) for file in (path.parent / "labelsTr").glob(f"*{ending}"))
    wanted = description.get("numTraining", len(names))
    if wanted != len(names):
        raise InputError(
            f"{path}: numTraining is {wanted!r}, and labelsTr holds {len(names)} *{ending} file(s): a copy "
            "is incomplete, or the number is wrong"
        )
    images = path.parent / "imagesTr"
    return {
        name: CaseFiles(
            name,
            tuple(images / f"{name}_{channel:04d}{ending}" for channel in range(channels)),
            path.parent / "labelsTr" / f"{name}{ending}",
        )
        for name in names
    }


def _explicit_validation(
    description: Mapping[str, Any], path: Path, cases: dict[str, CaseFiles]
) -> dict[str, CaseFiles]:
    entries = description.get("validation", [])
    if not isinstance(entries, list) or not all(isinstance(entry, str) for entry in entries):
        return _pairs(entries, "validation", path)
    if unknown := [name for name in entries if name not in cases]:
        raise InputError(f"{path}: validation names {unknown[0]!r}, which is none of the {len(cases)} cases")
    return {name: cases[name] for name in entries}


def _random_validation(
    cases: dict[str, CaseFiles], validation: float, seed: int, path: Path
) -> dict[str, CaseFiles]:
    count = int(validation) if validation >= 1 else max(1, round(validation * len(cases)))
    if count >= len(cases):
        raise InputError(
            f"{path}: {count} of {len(cases)} case(s) would be held out for validation, which leaves none to "
            "train on: give more cases, or hold out fewer"
        )
    names = sorted(cases)
    chosen = random_state(seed, SPLIT).permutation(len(names))[:count]
    return {names[index]: cases[names[index]] for index in sorted(chosen)}

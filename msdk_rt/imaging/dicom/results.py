"""The parts that segmentations and structure sets share: source, labels, names, writing."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import msdk_rt
from msdk_rt.artifact.files import atomic_write
from msdk_rt.errors import InputError
from msdk_rt.imaging.described import Described
from msdk_rt.imaging.dicom.codes import Concept, concept_of
from msdk_rt.imaging.dicom.image import DicomHeader
from msdk_rt.imaging.dicom.library import dicom, read_dataset
from msdk_rt.imaging.overlay import PALETTE
from msdk_rt.imaging.space import Placed
from msdk_rt.inference.arrays import Array

MANUFACTURER = "msdk_rt"
LONGEST_NAME = 64  # of a DICOM Long String
SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"
STRUCTURES = "1.2.840.10008.5.1.4.1.1.481.3"
APPROVALS = ("APPROVED", "UNAPPROVED", "REJECTED")
CLASSES = {SEGMENTATION: "a segmentation", STRUCTURES: "a structure set"}
NEEDED = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID", "FrameOfReferenceUID")


@dataclass(frozen=True)
class Segment:
    """One label. value: of its voxels. colour: (3,) red, green, blue, 0 to 255."""

    value: int
    name: str
    colour: tuple[int, int, int]
    concept: Concept


def segments_of(described: Described, labels: Array) -> list[Segment]:
    """The foreground labels in order; without a description one for each value that occurs."""
    named = {name: value for name, value in described.labels.items() if value != 0}
    if not named:
        named = {f"label {value}": int(value) for value in np.unique(labels) if value != 0}
    return [
        Segment(value, _long_string(name), _rgb(PALETTE[index % len(PALETTE)]), concept_of(name))
        for index, (name, value) in enumerate(named.items())
    ]


def source_images(header: DicomHeader) -> list[Any]:
    """The headers of the images that were segmented, in the stack's order, each file once.

    Raises InputError where one lacks what a result refers to.
    """
    container, datasets = header.container, []
    with container.opened() as files:
        for index in dict.fromkeys(frame.file for frame in header.stack.frames):
            with files.file(index) as file:
                datasets.append(read_dataset(file, container.says(index)))
            if lacking := [name for name in NEEDED if not datasets[-1].get(name)]:
                raise InputError(
                    f"{container.says(index)} lacks {', '.join(lacking)}, to which a DICOM result refers: "
                    "write a .nii.gz file instead"
                )
    return datasets


def algorithm(described: Described) -> str:
    """The name of the algorithm, with enough of the model's hash to tell models apart."""
    model = f" {described.family} {described.sha256[:12]}" if described.sha256 else ""
    return _long_string(f"msdk_rt{model}")


def version() -> str:
    return str(msdk_rt.__version__)


def write_dataset(dataset: Any, path: Path) -> None:
    """Write a file that is whole or not there. Raises OutputError."""
    with dicom(), atomic_write(path, "wb") as file:
        dataset.save_as(file, enforce_file_format=True)


def check_whole(path: Path, source: Placed) -> None:
    """Raise InputError unless `path` is a whole segmentation or structure set.

    Whether it is of `source` is not asked: a whole object may be somebody's work, whatever it is of.
    """
    with path.open("rb") as file:
        dataset = read_dataset(file, str(path), pixels=True)
    kind = str(dataset.get("SOPClassUID", ""))
    if kind == SEGMENTATION:
        bits = int(dataset.Rows) * int(dataset.Columns) * int(dataset.NumberOfFrames)
        whole = len(dataset.get("PixelData") or b"") * 8 >= bits
    else:
        whole = dataset.get("ApprovalStatus") in APPROVALS  # the last element
    if kind in CLASSES and not whole:
        raise InputError(f"{path} is cut off: write it again")
    if kind not in CLASSES:
        raise InputError(f"{path} is not {' or '.join(CLASSES.values())}")


def _long_string(text: str) -> str:
    printable = "".join(c if c.isprintable() and c != "\\" else "_" for c in text).strip()
    return (printable or "_")[:LONGEST_NAME]


def _rgb(colour: str) -> tuple[int, int, int]:
    red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return red, green, blue


def by_value(segments: Sequence[Segment], labels: Array) -> Array:
    """Labels with the number of each segment, from 1 on, in place of its value. Raises InputError."""
    table = np.zeros(max(int(labels.max()), *(segment.value for segment in segments), 0) + 1, np.uint16)
    for number, segment in enumerate(segments, start=1):
        table[segment.value] = number
    numbered: Array = table[labels]
    if lost := np.setdiff1d(np.unique(labels[numbered == 0]), [0]).tolist():
        raise InputError(f"voxels have the values {lost}, which no label has: give their names")
    return numbered

"""The series in a container, and the choice of one."""

import fnmatch
import glob
import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from msdk_rt.errors import InputError
from msdk_rt.imaging.dicom.container import Container
from msdk_rt.imaging.dicom.library import read_dataset

TAGS = [
    *("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "SeriesNumber"),
    *("SeriesDescription", "Modality", "Rows", "Columns", "NumberOfFrames"),
]
# Objects with Rows that are no images of a patient: segmentations, dose, parametric maps and their like.
NO_IMAGES = ("SEG", "RTDOSE", "RTSTRUCT", "RTPLAN", "SR", "PR", "KO", "REG", "DOC", "OT", "SC")
MOST_LISTED = 20


@dataclass(frozen=True)
class Series:
    """One series. files: numbers of its files in the container. number: -1 where it has none.

    description is a person's text: it is only shown where somebody asks for it.
    """

    uid: str
    study: str
    number: int
    description: str
    modality: str
    size: tuple[int, int]
    images: int
    files: tuple[int, ...]

    def __str__(self) -> str:
        name = f"series {self.number}" if self.number >= 0 else "a series without a number"
        return f"{name} ({self.modality}, {self.images} images of {self.size[1]} x {self.size[0]})"

    def fits(self, choice: str) -> bool:
        """Whether a choice names it: its number, its UID, or its description, in which * and ? are wild."""
        if choice in (self.uid, str(self.number)):
            return True
        return fnmatch.fnmatchcase(self.description.casefold(), choice.casefold())


def series_in(container: Container) -> list[Series]:
    """Every series of images, by number. A file that is there twice counts once. Raises InputError."""
    found = defaultdict(list)
    seen: dict[str, int] = {}
    with container.opened() as files:
        for index in range(len(container.names)):
            with files.file(index) as file:
                header = read_dataset(file, container.says(index), tags=TAGS)
            if "Rows" not in header or str(header.get("Modality", "")) in NO_IMAGES:
                continue
            instance = str(header.get("SOPInstanceUID", ""))
            if instance in seen and _digest(container, index) == _digest(container, seen[instance]):
                continue
            if instance in seen:
                raise InputError(
                    f"{container.says(index)} has the identity of file {seen[instance] + 1} and another "
                    "content: remove one of them"
                )
            seen[instance] = index
            found[str(header.get("SeriesInstanceUID", ""))].append((index, header))
    series = []
    for uid, members in found.items():
        first = members[0][1]
        frames = sum(int(header.get("NumberOfFrames") or 1) for _, header in members)
        number = first.get("SeriesNumber")
        series.append(
            Series(
                uid,
                str(first.get("StudyInstanceUID", "")),
                -1 if number is None else int(number),
                str(first.get("SeriesDescription", "")).strip(),
                str(first.get("Modality", "")) or "no modality",
                (int(first.Rows), int(first.get("Columns") or 0)),
                frames,
                tuple(index for index, _ in members),
            )
        )
    return sorted(series, key=lambda one: (one.number, one.uid))


def choose(series: Sequence[Series], choice: str, path: object) -> Series:
    """The series that `choice` names; without one, the only series. Raises InputError."""
    if not series:
        raise InputError(f"{path} holds no series of images, only other DICOM objects: give the images")
    fitting = [one for one in series if not choice or one.fits(choice)]
    if len(fitting) == 1:
        return fitting[0]
    listed = "; ".join(map(str, series[:MOST_LISTED])) + ("; ..." if len(series) > MOST_LISTED else "")
    hint = "choose one with --series NUMBER, 'DESCRIPTION' or UID (`msdk-rt series` shows them)"
    if not choice:
        raise InputError(f"{path} holds {len(series)} series: {listed}. {hint[0].upper()}{hint[1:]}")
    count = "no" if not fitting else len(fitting)
    raise InputError(
        f"{path} holds {count} series that --series names, expected one, among: {listed}; {hint}"
    )


def needs_uid(one: Series, series: Sequence[Series]) -> bool:
    """Whether neither its number nor its description tells a series from the others: scanners repeat both."""

    def alone(choice: str) -> bool:
        return sum(other.fits(choice) for other in series) == 1

    by_number = one.number >= 0 and alone(str(one.number))
    return not by_number and not (one.description and alone(glob.escape(one.description)))


def _digest(container: Container, index: int) -> bytes:
    with container.opened() as files, files.file(index) as file:
        return hashlib.sha256(file.read()).digest()

"""The image and the labels that a page shows, found from a result, and put into NIfTI for it."""

import gzip
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

from msdk_rt.cohort.records import KEY
from msdk_rt.errors import InputError
from msdk_rt.imaging.formats import is_image, is_result_name, open_image
from msdk_rt.imaging.overlay import PALETTE
from msdk_rt.imaging.space import check_same_space
from msdk_rt.inference.arrays import Array

MOST_LABELS = 512
SLOWLY = 1  # gzip's level: a page is looked at once


@dataclass(frozen=True)
class Label:
    """A row of the table. at: millimetres (RAS) of a voxel in it near its middle, None where it has none."""

    name: str
    value: int
    colour: str
    voxels: int
    ml: float
    at: tuple[float, float, float] | None


@dataclass(frozen=True)
class Subject:
    """title: of the page. image, labels: NIfTI files, gzipped; b"" for no labels. table: of the labels.
    step: millimetres between voxels to the right, to the front and to the top.
    """

    title: str
    image: bytes
    labels: bytes
    table: tuple[Label, ...]
    step: tuple[float, float, float] = (1.0, 1.0, 1.0)


@dataclass(frozen=True)
class Found:
    """Where an image and its labels lie. names: {label: voxel value} where they are known."""

    image: Path
    labels: Path | None
    names: Mapping[str, int]


def find(result: Path, image: Path | None = None, case: str | None = None) -> Found:
    """The files of a result of `msdk-rt run`: a label file, a folder of results with one case or the `case`
    named, or an image alone. image: where the record does not lead to it. Raises InputError.
    """
    if result.is_dir() and (result / "report.json").is_file():
        entry = _case_of(result, case)
        return find(Path(entry["output"]), image or Path(entry["inputs"][0]))
    if case is not None:
        raise InputError(f"{result} holds no report.json: --case chooses in a folder of results")
    record = _record(result)
    if record is None and image is None:
        if not is_image(result):
            raise InputError(f"{result} is no image and no result of msdk-rt run: give one")
        return Found(result, None, {})
    if not is_result_name(result) or not result.is_file():
        raise InputError(f"no label file at {result}: give a result of msdk-rt run")
    names = (record or {}).get("label_values", {})
    return Found(image or _image_of(result, record or {}), result, names)


def load(found: Found, choice: str = "") -> Subject:
    """Read what was found. choice: the series of a DICOM folder. Raises InputError."""
    image = open_image(found.image, series=True, choice=choice)
    title = found.labels.name if found.labels else found.image.name
    voxels = image.voxels().reshape(*image.shape[:3], -1)[..., 0]
    packed, step = _packed(_compact(voxels), image.affine), image.space("RAS").spacing
    if found.labels is None:
        return Subject(title, packed, b"", (), step)
    if found.labels.name.lower().endswith(".dcm"):
        raise InputError(
            f"{found.labels} is DICOM, for viewers that read DICOM: segment with a .nii.gz result to see it "
            "here"
        )
    labels = open_image(found.labels)
    check_same_space(image, labels, found.image, found.labels)
    values = labels.voxels().reshape(labels.shape[:3])
    if (values != np.rint(values)).any() or values.min() < 0 or values.max() >= 1 << 16:
        raise InputError(f"{found.labels} holds values that are no labels, expected whole numbers from 0 on")
    whole = values.astype(np.uint16)
    table = table_of(whole, labels.affine, found.names)
    return Subject(title, packed, _packed(whole, labels.affine), table, step)


def table_of(labels: Array, affine: Array, names: Mapping[str, int]) -> tuple[Label, ...]:
    """Rows for (X, Y, Z) labels: of the names in order, then of values that have none. Raises InputError."""
    counts = np.bincount(labels.ravel())
    by_value = {value: name for name, value in names.items()}
    values = [value for value in by_value if value != 0]
    values += [int(value) for value in np.flatnonzero(counts) if value != 0 and value not in by_value]
    if len(values) > MOST_LABELS:
        raise InputError(
            f"there are {len(values)} labels, at most {MOST_LABELS} are shown: is it a label file?"
        )
    voxel_ml = abs(float(np.linalg.det(affine[:3, :3]))) / 1000
    rows = []
    for index, value in enumerate(values):
        count = int(counts[value]) if value < len(counts) else 0
        at = _near_middle(labels == value, affine) if count else None
        colour = PALETTE[index % len(PALETTE)]
        rows.append(Label(by_value.get(value, f"label {value}"), value, colour, count, count * voxel_ml, at))
    return tuple(rows)


def _near_middle(mask: Array, affine: Array) -> tuple[float, float, float]:
    where = np.argwhere(mask)
    nearest = where[np.linalg.norm(where - where.mean(axis=0), axis=1).argmin()]
    x, y, z = (affine @ [*nearest, 1])[:3]
    return round(float(x), 3), round(float(y), 3), round(float(z), 3)


def _case_of(folder: Path, name: str | None) -> dict[str, Any]:
    """The entry of a case in a report. Raises InputError."""
    try:
        cases = json.loads((folder / "report.json").read_text(encoding="utf-8"))["cases"]
        done = {str(case["case"]): case for case in cases if "error" not in case}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{folder / 'report.json'} is no report of msdk-rt run: give a label file"
        ) from error
    if name is None and len(done) == 1:
        return dict(next(iter(done.values())))
    if name not in done:
        listed = ", ".join(list(done)[:20]) + (", ..." if len(done) > 20 else "")
        raise InputError(f"{folder} has {len(done)} cases with a result: choose one with --case: {listed}")
    return dict(done[name])


def _record(result: Path) -> dict[str, Any] | None:
    try:
        entries = json.loads(result.with_name(f"{result.name}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    record = entries.get(KEY) if isinstance(entries, dict) else None
    return record if isinstance(record, dict) else None


def _image_of(result: Path, record: dict[str, Any]) -> Path:
    """The image that a record names, beside the result. Raises InputError."""
    names = [entry.get("file", "") for entry in record.get("inputs", []) if isinstance(entry, dict)]
    for name in names[:1]:
        image = result.parent / Path(str(name)).name
        if image != result and image.exists():
            return image
    raise InputError(f"the image of {result} is not beside it: give it with --image")


def _compact(voxels: Array) -> Array:
    """Whole numbers as int16 where they fit, which halves what a browser has to hold."""
    low, high = float(voxels.min()), float(voxels.max())
    if low >= -(1 << 15) and high < 1 << 15:
        whole = np.rint(voxels)
        if (whole == voxels).all():
            return whole.astype(np.int16)
    return voxels


def _packed(array: Array, affine: Array) -> bytes:
    if array.dtype == np.uint16 and array.max() < 256:
        array = array.astype(np.uint8)
    stream = io.BytesIO()
    with gzip.GzipFile("", "wb", compresslevel=SLOWLY, fileobj=stream, mtime=0) as file:
        image: Any = nibabel.Nifti1Image(array, affine)
        image.to_stream(file)
    return stream.getvalue()

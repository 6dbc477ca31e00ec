"""Frames: the slices of classic images and of enhanced multi-frame ones, with their place in the patient."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from msdk_rt.errors import InputError
from msdk_rt.inference.arrays import Array

COLOUR = "is in colour ({}), expected MONOCHROME: give the series that the scanner made"


@dataclass(frozen=True, eq=False)
class Frame:
    """One slice.

    file: number of its file in the container. number: of the frame in the file, from 0. position: (3,) of its
    first voxel's centre, and along_row, along_column: (3,) unit vectors, in millimetres of LPS. sides:
    (between rows, between columns) in millimetres. depth: of the slice in millimetres, 0 where it does not
    say. slope, intercept: of the rescaling. instance: its SOP Instance UID.
    """

    file: int
    number: int
    position: Array
    along_row: Array
    along_column: Array
    sides: tuple[float, float]
    size: tuple[int, int]
    depth: float
    slope: float
    intercept: float
    instance: str

    @property
    def normal(self) -> Array:
        return np.cross(self.along_row, self.along_column)


def frames_of(dataset: Any, file: int, what: str) -> list[Frame]:
    """The frames of an image's header. what: names the file in a message. Raises InputError."""
    _check_voxels(dataset, what)
    try:
        if "PerFrameFunctionalGroupsSequence" in dataset:
            return _enhanced(dataset, file, what)
        if int(dataset.get("NumberOfFrames") or 1) > 1:
            raise InputError(
                f"{what} has {dataset.NumberOfFrames} frames and does not say where each lies: export it as "
                "enhanced or classic DICOM, or convert it to NIfTI"
            )
        return [_frame(dataset, dataset, dataset, dataset, dataset, file, 0, what)]
    except InputError:
        raise
    except Exception as error:  # values of the wrong kind or count
        raise InputError(
            f"{what} has a damaged header ({type(error).__name__}): export the series again"
        ) from None


def _check_voxels(dataset: Any, what: str) -> None:
    photometric = str(dataset.get("PhotometricInterpretation", ""))
    if int(dataset.get("SamplesPerPixel") or 1) != 1 or not photometric.startswith("MONOCHROME"):
        raise InputError(f"{what} {COLOUR.format(photometric or 'several samples a voxel')}")
    if any(str(kind).upper() == "MOSAIC" for kind in dataset.get("ImageType") or ()):
        raise InputError(f"{what} is a mosaic of slices in one picture: dcm2niix converts it to NIfTI")
    if "ModalityLUTSequence" in dataset:
        raise InputError(
            f"{what} maps its voxels by a table (Modality LUT), expected slope and intercept: convert it to "
            "NIfTI"
        )


def _enhanced(dataset: Any, file: int, what: str) -> list[Frame]:
    shared = _first(dataset.get("SharedFunctionalGroupsSequence")) or {}
    frames = []
    for number, own in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        place, plane, measures, scale = (
            _first(own.get(name)) or _first(shared.get(name)) or {}
            for name in (
                "PlanePositionSequence",
                "PlaneOrientationSequence",
                "PixelMeasuresSequence",
                "PixelValueTransformationSequence",
            )
        )
        frames.append(_frame(dataset, place, plane, measures, scale, file, number, what))
    return frames


def _frame(
    image: Any, place: Any, plane: Any, measures: Any, scale: Any, file: int, number: int, what: str
) -> Frame:
    lacking = [
        name
        for name, group in (
            ("ImagePositionPatient", place),
            ("ImageOrientationPatient", plane),
            ("PixelSpacing", measures),
        )
        if not group.get(name)
    ]
    if lacking:
        raise InputError(
            f"{what} lacks {', '.join(lacking)}: it is a picture and no slice in space (a scout, a report, a "
            "secondary capture), give the series that the scanner made"
        )
    position, turned = (
        _numbers(place.get("ImagePositionPatient")),
        _numbers(plane.get("ImageOrientationPatient")),
    )
    row, column = turned[:3], turned[3:]
    lengths = np.linalg.norm(row), np.linalg.norm(column)
    sides = _numbers(measures.get("PixelSpacing"))
    finite = all(np.isfinite(values).all() for values in (position, turned, sides))
    if (
        not finite
        or (len(position), len(turned), len(sides)) != (3, 6, 2)
        or max(abs(length - 1) for length in lengths) > 1e-2
        or abs(row @ column) > 1e-2
        or min(sides) <= 0
    ):
        raise InputError(
            f"{what} has a position, an orientation or a PixelSpacing that cannot be: export the series again"
        )
    slope, intercept = scale.get("RescaleSlope"), scale.get("RescaleIntercept")
    slope = 1.0 if slope is None else float(slope)
    intercept = 0.0 if intercept is None else float(intercept)
    if not np.isfinite([slope, intercept]).all() or slope == 0:
        raise InputError(f"{what} has the rescale slope {slope:g}, which erases its voxels: export it again")
    depth = measures.get("SliceThickness") or measures.get("SpacingBetweenSlices") or 0
    return Frame(
        file,
        number,
        position,
        row / lengths[0],
        column / lengths[1],
        (float(sides[0]), float(sides[1])),
        (int(image.Rows), int(image.Columns)),
        abs(float(depth)),
        slope,
        intercept,
        str(image.SOPInstanceUID),
    )


def _numbers(values: Any) -> Array:
    return np.asarray([float(value) for value in values], np.float64)


def _first(sequence: Sequence[Any] | None) -> Any:
    return sequence[0] if sequence else None

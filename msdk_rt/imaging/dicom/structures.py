"""Writes labels as a DICOM RT Structure Set (PS3.3, A.19): closed contours in the slices of the source.

Contours run half way between the centres of voxels inside and outside, so that a reader which asks whether
a centre lies inside finds the same voxels. A hole is joined to the contour around it by a slit without
width, as the standard has it (PS3.3, C.8.8.6.3).
"""

from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from msdk_rt.errors import BackendError, InputError
from msdk_rt.imaging.described import Described
from msdk_rt.imaging.dicom.image import DicomHeader
from msdk_rt.imaging.dicom.library import dicom
from msdk_rt.imaging.dicom.results import (
    MANUFACTURER,
    STRUCTURES,
    Segment,
    algorithm,
    by_value,
    segments_of,
    source_images,
    version,
    write_dataset,
)
from msdk_rt.imaging.dicom.stack import LPS_TO_RAS
from msdk_rt.inference.arrays import Array

STUDY_CLASS = "1.2.840.10008.3.1.2.3.1"  # its referenced study: Detached Study Management (Retired)
MOST_CHARACTERS = 16  # of a DICOM Decimal String
# Of the patient and the study, which an object of the same study repeats.
COPIED = {
    "SpecificCharacterSet": None,
    "PatientName": "",
    "PatientID": "",
    "PatientBirthDate": "",
    "PatientSex": "",
    "StudyDate": "",
    "StudyTime": "",
    "AccessionNumber": "",
    "ReferringPhysicianName": "",
    "StudyID": "",
    "StudyInstanceUID": "",
    "FrameOfReferenceUID": "",
    "PositionReferenceIndicator": "",
}


def write_structures(labels: Array, header: DicomHeader, path: Path, described: Described) -> None:
    """Write labels (X, Y, Z) as contours in the planes of the series. Raises InputError, OutputError."""
    sources = source_images(header)
    segments = segments_of(described, labels)
    if not segments:
        raise InputError(f"cannot write {path.name}: there is no label but background")
    numbered = by_value(segments, labels)
    with dicom():
        dataset = _dataset(sources, header, described)
        dataset.StructureSetROISequence = _sequence(
            _roi(number, segment, sources[0], described) for number, segment in enumerate(segments, start=1)
        )
        dataset.ROIContourSequence = _sequence(
            _roi_contours(number, segment, numbered, sources, header)
            for number, segment in enumerate(segments, start=1)
        )
        dataset.RTROIObservationsSequence = _sequence(
            _item(
                ObservationNumber=number,
                ReferencedROINumber=number,
                RTROIIdentificationCodeSequence=_sequence([_coded(segment)]),
                RTROIInterpretedType="",
                ROIInterpreter="",
            )
            for number, segment in enumerate(segments, start=1)
        )
    write_dataset(dataset, path)


def contours(plane: Array) -> list[Array]:
    """Closed lines around the voxels of a plane (X, Y) that are true, each (N, 2) in voxels, N >= 3.

    A hole is joined to the line around it.
    """
    try:
        import contourpy
    except ModuleNotFoundError as error:
        raise BackendError(
            "a structure set needs contourpy, which is not installed: pip install 'msdk_rt[dicom]'"
        ) from error
    padded = np.pad(plane.astype(np.float32), 1)
    generator = contourpy.contour_generator(z=padded.T, fill_type="OuterOffset")
    found = []
    for points, offsets in zip(*generator.filled(0.5, np.inf), strict=True):
        rings = [points[start : stop - 1] - 1 for start, stop in pairwise(offsets)]  # the last is the first
        outer, *holes = map(_without_points_on_edges, rings)
        found.append(_with_keyholes(outer, holes))
    return found


def _with_keyholes(outer: Array, holes: Sequence[Array]) -> Array:
    """One line of an outer one and its holes, each joined to it by a way there and back."""
    for hole in holes:
        distances = np.linalg.norm(outer[:, None] - hole[None], axis=-1)
        place, entry = np.unravel_index(int(distances.argmin()), distances.shape)
        around = np.roll(hole, -int(entry), axis=0)
        outer = np.concatenate([outer[: place + 1], around, around[:1], outer[place:]])
    return outer


def _without_points_on_edges(line: Array) -> Array:
    """The line without points that lie straight between their neighbours."""
    before, after = line - np.roll(line, 1, axis=0), np.roll(line, -1, axis=0) - line
    turns = before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]
    kept: Array = line[np.abs(turns) > 1e-9]
    return kept


def _dataset(sources: list[Any], header: DicomHeader, described: Described) -> Any:
    import pydicom
    from pydicom.uid import PYDICOM_IMPLEMENTATION_UID, ExplicitVRLittleEndian, generate_uid

    first, now = sources[0], datetime.now()
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = STRUCTURES, generate_uid()
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.ImplementationClassUID = PYDICOM_IMPLEMENTATION_UID
    for name, absent in COPIED.items():
        if name in first:
            setattr(dataset, name, first[name].value)
        elif absent is not None:
            setattr(dataset, name, absent)
    entries = {
        "Modality": "RTSTRUCT",
        "SeriesInstanceUID": generate_uid(),
        "SeriesNumber": int(first.get("SeriesNumber") or 0) + 1000,
        "SeriesDescription": "Structure set",
        "OperatorsName": "",
        "InstanceNumber": 1,
        "Manufacturer": MANUFACTURER,
        "ManufacturerModelName": MANUFACTURER,
        "SoftwareVersions": version(),
        "InstanceCreationDate": now.strftime("%Y%m%d"),
        "InstanceCreationTime": now.strftime("%H%M%S"),
        "StructureSetLabel": "SEGMENTATION",
        "StructureSetName": algorithm(described),
        "StructureSetDescription": f"model SHA-256 {described.sha256}" if described.sha256 else "",
        "StructureSetDate": now.strftime("%Y%m%d"),
        "StructureSetTime": now.strftime("%H%M%S"),
        "ApprovalStatus": "UNAPPROVED",
        "ReferencedFrameOfReferenceSequence": _sequence([_frame_of_reference(sources)]),
    }
    for name, value in entries.items():
        setattr(dataset, name, value)
    return dataset


def _frame_of_reference(sources: list[Any]) -> Any:
    first = sources[0]
    series = _item(
        SeriesInstanceUID=first.SeriesInstanceUID,
        ContourImageSequence=_sequence(_reference(source) for source in sources),
    )
    study = _item(
        ReferencedSOPClassUID=STUDY_CLASS,
        ReferencedSOPInstanceUID=first.StudyInstanceUID,
        RTReferencedSeriesSequence=_sequence([series]),
    )
    return _item(FrameOfReferenceUID=first.FrameOfReferenceUID, RTReferencedStudySequence=_sequence([study]))


def _roi(number: int, segment: Segment, source: Any, described: Described) -> Any:
    return _item(
        ROINumber=number,
        ReferencedFrameOfReferenceUID=source.FrameOfReferenceUID,
        ROIName=segment.name,
        ROIDescription=f"voxel value {segment.value}",
        ROIGenerationAlgorithm="AUTOMATIC",
        ROIGenerationDescription=algorithm(described),
    )


def _roi_contours(
    number: int, segment: Segment, numbered: Array, sources: Sequence[Any], header: DicomHeader
) -> Any:
    by_instance = {str(source.SOPInstanceUID): source for source in sources}
    to_patient = LPS_TO_RAS @ header.stack.affine  # its own inverse: RAS to LPS
    found = []
    for z, frame in enumerate(header.stack.frames):
        plane = numbered[:, :, z] == number
        if not plane.any():
            continue
        source = by_instance[frame.instance]
        several = int(source.get("NumberOfFrames") or 1) > 1
        for line in contours(plane):
            points = np.column_stack([line, np.full(len(line), z), np.ones(len(line))]) @ to_patient.T
            found.append(
                _item(
                    ContourImageSequence=_sequence(
                        [_reference(source, frame.number + 1 if several else None)]
                    ),
                    ContourGeometricType="CLOSED_PLANAR",
                    NumberOfContourPoints=len(line),
                    ContourData=[_decimal(value) for value in points[:, :3].ravel()],
                )
            )
    contour = _item(ROIDisplayColor=list(segment.colour), ReferencedROINumber=number)
    if found:  # the sequence may be absent, but not empty
        contour.ContourSequence = _sequence(found)
    return contour


def _coded(segment: Segment) -> Any:
    value, meaning = segment.concept.kind
    return _item(CodeValue=value, CodingSchemeDesignator="SCT", CodeMeaning=meaning)


def _reference(source: Any, frame: int | None = None) -> Any:
    entries = {
        "ReferencedSOPClassUID": source.SOPClassUID,
        "ReferencedSOPInstanceUID": source.SOPInstanceUID,
    }
    return _item(**entries, **({} if frame is None else {"ReferencedFrameNumber": frame}))


def _decimal(value: float) -> str:
    text = f"{value:.5f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text[:MOST_CHARACTERS]


def _item(**entries: Any) -> Any:
    from pydicom import Dataset

    item = Dataset()
    for name, value in entries.items():
        setattr(item, name, value)
    return item


def _sequence(items: Any) -> Any:
    from pydicom import Sequence as DicomSequence

    return DicomSequence(list(items))

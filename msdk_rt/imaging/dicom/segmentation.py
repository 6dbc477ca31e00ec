"""Writes labels as a DICOM Segmentation (PS3.3, A.51), binary, one segment a label."""

from pathlib import Path
from typing import Any

import numpy as np

from msdk_rt.errors import InputError
from msdk_rt.imaging.described import Described
from msdk_rt.imaging.dicom.codes import Code
from msdk_rt.imaging.dicom.image import DicomHeader
from msdk_rt.imaging.dicom.library import dicom
from msdk_rt.imaging.dicom.results import (
    MANUFACTURER,
    Segment,
    algorithm,
    by_value,
    segments_of,
    source_images,
    version,
    write_dataset,
)
from msdk_rt.inference.arrays import Array


def write_segmentation(labels: Array, header: DicomHeader, path: Path, described: Described) -> None:
    """Write labels (X, Y, Z) in the space of the series of `header`. Raises InputError, OutputError."""
    sources = source_images(header)
    segments = segments_of(described, labels)
    if not segments:
        raise InputError(f"cannot write {path.name}: there is no label but background")
    if len(sources) > 1 and any(int(source.get("NumberOfFrames") or 1) > 1 for source in sources):
        raise InputError(
            f"cannot write {path.name}: the series is {len(sources)} multi-frame files, and a segmentation "
            "refers to one. Write a .nii.gz file instead"
        )
    planes = np.ascontiguousarray(by_value(segments, labels).transpose(2, 1, 0))
    if len(sources) == 1 and len(planes) > 1:  # frames in the file's own order
        planes = planes[np.argsort([frame.number for frame in header.stack.frames])]
    with dicom():
        try:
            dataset = _dataset(planes, sources, segments, described)
        except (AttributeError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"cannot write {path.name}: the headers of the source series lack something that a "
                f"segmentation repeats, or hold values that it may not ({type(error).__name__}). Write a "
                ".nii.gz file instead"
            ) from None
    write_dataset(dataset, path)


def _dataset(planes: Array, sources: list[Any], segments: list[Segment], described: Described) -> Any:
    import highdicom
    from pydicom.uid import ExplicitVRLittleEndian

    return highdicom.seg.Segmentation(
        source_images=sources,
        pixel_array=planes.astype(np.uint8 if len(segments) < 256 else np.uint16),
        segmentation_type="BINARY",
        segment_descriptions=[
            _description(number, segment, described) for number, segment in enumerate(segments, start=1)
        ],
        series_instance_uid=highdicom.UID(),
        series_number=int(sources[0].get("SeriesNumber") or 0) + 1000,
        sop_instance_uid=highdicom.UID(),
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=MANUFACTURER,
        software_versions=version(),
        device_serial_number="0",
        content_label="SEGMENTATION",
        content_description=algorithm(described),
        transfer_syntax_uid=ExplicitVRLittleEndian,
        series_description="Segmentation",
    )


def _description(number: int, segment: Segment, described: Described) -> Any:
    import highdicom
    from highdicom.color import CIELabColor
    from pydicom.sr.codedict import codes

    concept = segment.concept
    parameters = {"model_sha256": described.sha256} if described.sha256 else None
    description = highdicom.seg.SegmentDescription(
        segment_number=number,
        segment_label=segment.name,
        segmented_property_category=_coded(concept.category),
        segmented_property_type=_coded(concept.kind),
        algorithm_type="AUTOMATIC",
        algorithm_identification=highdicom.AlgorithmIdentificationSequence(
            name=algorithm(described),
            family=codes.cid7162.ArtificialIntelligence,
            version=version(),
            source=MANUFACTURER,
            parameters=parameters,
        ),
        tracking_uid=highdicom.UID(),
        tracking_id=segment.name,
        display_color=CIELabColor.from_rgb(*segment.colour),
    )
    if concept.side:
        description.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = [
            _coded(concept.side)
        ]
    return description


def _coded(code: Code) -> Any:
    from highdicom.sr import CodedConcept

    return CodedConcept(value=code[0], scheme_designator="SCT", meaning=code[1])

"""The registry's entry for DICOM. Importing it imports no DICOM library."""

from pathlib import Path

from msdk_rt.artifact.files import path_of
from msdk_rt.errors import InputError, OutputError
from msdk_rt.imaging.described import Described
from msdk_rt.imaging.dicom.container import holds_dicom
from msdk_rt.imaging.dicom.image import DicomHeader, DicomImage
from msdk_rt.imaging.dicom.library import dicom
from msdk_rt.imaging.space import Placed, Space
from msdk_rt.inference.arrays import Array

SEGMENTATION = ".seg.dcm"
STRUCTURES = ".rtstruct.dcm"


class Dicom:
    """Implements msdk_rt.imaging.formats.Format: reads series, writes segmentations and structure sets."""

    suffixes: tuple[str, ...] = ()
    results = (SEGMENTATION, STRUCTURES)

    def holds(self, path: Path) -> bool:
        return holds_dicom(path)

    def open(self, path: Path, *, series: bool, choice: str) -> DicomImage:
        return DicomImage(path_of(path, InputError), choice)

    def check_library(self) -> None:
        with dicom():
            import highdicom  # noqa: F401  it brings pydicom

    def write(self, array: Array, space: Space, path: Path, described: Described) -> None:
        if not isinstance(space.header, DicomHeader):
            raise OutputError(
                f"cannot write {path}: it refers to the DICOM images that were segmented, and these were "
                "none. Give a .nii.gz name"
            )
        if array.ndim != 3:
            raise OutputError(
                f"cannot write {path}: expected labels, got {array.ndim} axes. Give a .nii.gz name"
            )
        if path.name.lower().endswith(SEGMENTATION):
            from msdk_rt.imaging.dicom.segmentation import write_segmentation as write
        else:
            from msdk_rt.imaging.dicom.structures import write_structures as write
        write(array, space.header, path, described)

    def check_result(self, path: Path, source: Placed, source_path: Path, maps: int) -> None:
        from msdk_rt.imaging.dicom.results import check_whole

        check_whole(path, source)

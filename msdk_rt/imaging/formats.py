"""Image formats, by the suffix of a file's name. To add one: a module with a Format, listed here."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from msdk_rt.errors import OutputError
from msdk_rt.imaging import nifti
from msdk_rt.imaging.described import Described
from msdk_rt.imaging.dicom.format import Dicom
from msdk_rt.imaging.itk import Itk
from msdk_rt.imaging.space import Placed, Space
from msdk_rt.inference.arrays import Array


class Image(Placed, Protocol):
    """An opened file: its header is checked, its voxels are still on disk.

    doubts: a sentence for each thing in it that may not be meant, complete once the voxels were read.
    """

    @property
    def doubts(self) -> Sequence[str]: ...

    def voxels(self) -> Array:
        """float32 in the shape of the image, in the file's axis order, scaling applied. Raises InputError."""

    def space(self, orientation: str) -> Space:
        """Where the voxels lie, for a model whose (D, H, W) have these axis codes."""


class Format(Protocol):
    """One kind of image.

    suffixes: of the files that are read, with their dots, longer ones before those they end in. results: of
    the files that are written.
    """

    @property
    def suffixes(self) -> tuple[str, ...]: ...

    @property
    def results(self) -> tuple[str, ...]: ...

    def holds(self, path: Path) -> bool:
        """Whether a folder, or a file without one of the suffixes, is an image of this format."""

    def open(self, path: Path, *, series: bool, choice: str) -> Image:
        """The image of a file or a folder. series: several volumes along a fourth axis are allowed. choice:
        names one of several images in it, "" for the only one. Raises InputError.
        """

    def check_library(self) -> None:
        """Raise BackendError where a library that files of this format need is not installed."""

    def write(self, array: Array, space: Space, path: Path, described: Described) -> None:
        """Write (X, Y, Z) or (X, Y, Z, K) in this space, whole or not at all. Raises OutputError."""

    def check_result(self, path: Path, source: Image, source_path: Path, maps: int) -> None:
        """Raise InputError unless `path` is a whole result of `maps` volumes for the image `source`."""


FORMATS: tuple[Format, ...] = (nifti.Nifti(), Itk(), Dicom())
SUFFIXES = tuple(suffix for form in FORMATS for suffix in form.suffixes)
RESULTS = tuple(suffix for form in FORMATS for suffix in form.results)
# Other tools' image and archive formats: a name that ends in one of these was never meant as a folder.
FOREIGN_SUFFIXES = (
    *(".mhd", ".nhdr", ".mgh", ".mgz", ".mnc", ".gipl.gz", ".vtk", ".vti"),
    *(".hdr", ".img", ".hdr.gz", ".img.gz", ".nia", ".nii.bz2", ".nii.zst", ".nii.xz", ".dcm", ".ima"),
    *(".npy", ".npz", ".h5", ".hdf5", ".zarr", ".mat", ".tif", ".tiff", ".png", ".jpg", ".jpeg", ".bmp"),
    *(".zip", ".gz", ".bz2", ".zst", ".xz", ".tar", ".tgz", ".7z"),
)


def open_image(path: Path, *, series: bool = False, choice: str = "") -> Image:
    """The image of a file or a folder; what no format knows is opened as the first. Raises InputError."""
    return (_format_of(path) or FORMATS[0]).open(path, series=series, choice=choice)


def writer_for(path: Path) -> Format:
    """The format to write `path` in. Raises OutputError for a name without a known suffix."""
    name = path.name.lower()
    if form := next((form for form in FORMATS if name.endswith(form.results)), None):
        return form
    raise OutputError(f"cannot write {path}: expected a name that ends in {listed(RESULTS)}")


def is_image_name(path: Path) -> bool:
    """Whether the name ends in a suffix that is read here, in small or capital letters."""
    return path.name.lower().endswith(SUFFIXES)


def is_image(path: Path) -> bool:
    """Whether it is an image by its name or, a folder or an archive, by what it holds."""
    return _format_of(path) is not None


def is_result_name(path: Path) -> bool:
    """Whether the name ends in a suffix that is written here, in small or capital letters."""
    return path.name.lower().endswith(RESULTS)


def foreign_suffix(path: Path) -> str:
    """The suffix of another image or archive format that the name ends in, "" if there is none."""
    name = path.name.lower()
    return max((suffix for suffix in FOREIGN_SUFFIXES if name.endswith(suffix)), key=len, default="")


def save(array: Array, space: Space, path: str | Path, described: Described | None = None) -> None:
    """Write (X, Y, Z) or (X, Y, Z, K) in this space, whole or not at all, as the suffix says.

    Raises OutputError.
    """
    path = Path(path)
    writer_for(path).write(array, space, path, described or Described())


def stem(path: str | Path) -> str:
    """The file name without its image suffix, which may be in capital letters."""
    name = Path(path).name
    suffixes = (*RESULTS, *SUFFIXES)
    return next((name[: -len(suffix)] for suffix in suffixes if name.lower().endswith(suffix)), name)


def listed(suffixes: Sequence[str]) -> str:
    """Suffixes for a sentence."""
    return " or ".join(suffixes)


def _format_of(path: Path) -> Format | None:
    name = path.name.lower()
    by_name = (form for form in FORMATS if form.suffixes and name.endswith(form.suffixes))
    return next(by_name, None) or next((form for form in FORMATS if form.holds(path)), None)

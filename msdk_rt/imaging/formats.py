"""Image formats, by the suffix of a file's name. To add one: a module with a Format, listed here."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from msdk_rt.errors import OutputError
from msdk_rt.imaging import nifti
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
    """One kind of image file. suffixes: with their dots, longer ones before those they end in."""

    @property
    def suffixes(self) -> tuple[str, ...]: ...

    def open(self, path: Path, *, series: bool) -> Image:
        """The image of a file. series: several volumes along a fourth axis are allowed. Raises InputError."""

    def write(self, array: Array, space: Space, path: Path) -> None:
        """Write (X, Y, Z) or (X, Y, Z, K) in this space, whole or not at all. Raises OutputError."""


FORMATS: tuple[Format, ...] = (nifti.Nifti(),)
SUFFIXES = tuple(suffix for form in FORMATS for suffix in form.suffixes)
# Other tools' image and archive formats: a name that ends in one of these was never meant as a folder.
FOREIGN_SUFFIXES = (
    *(".mha", ".mhd", ".nrrd", ".nhdr", ".mgh", ".mgz", ".mnc", ".gipl", ".gipl.gz", ".vtk", ".vti"),
    *(".hdr", ".img", ".hdr.gz", ".img.gz", ".nia", ".nii.bz2", ".nii.zst", ".nii.xz", ".dcm", ".ima"),
    *(".npy", ".npz", ".h5", ".hdf5", ".zarr", ".mat", ".tif", ".tiff", ".png", ".jpg", ".jpeg", ".bmp"),
    *(".zip", ".gz", ".bz2", ".zst", ".xz", ".tar", ".tgz", ".7z"),
)


def open_image(path: Path, *, series: bool = False) -> Image:
    """The image of a file; a name without a known suffix is taken for the first format. Raises InputError."""
    return (_format_of(path) or FORMATS[0]).open(path, series=series)


def writer_for(path: Path) -> Format:
    """The format to write `path` in. Raises OutputError for a name without a known suffix."""
    if form := _format_of(path):
        return form
    raise OutputError(f"cannot write {path}: expected a name that ends in {' or '.join(SUFFIXES)}")


def is_image_name(path: Path) -> bool:
    """Whether the name ends in a suffix that is read and written here, in small or capital letters."""
    return _format_of(path) is not None


def foreign_suffix(path: Path) -> str:
    """The suffix of another image or archive format that the name ends in, "" if there is none."""
    name = path.name.lower()
    return max((suffix for suffix in FOREIGN_SUFFIXES if name.endswith(suffix)), key=len, default="")


def save(array: Array, space: Space, path: str | Path) -> None:
    """Write (X, Y, Z) or (X, Y, Z, K) in this space, whole or not at all, as the suffix says.

    Raises OutputError.
    """
    path = Path(path)
    writer_for(path).write(array, space, path)


def stem(path: str | Path) -> str:
    """The file name without its image suffix, which may be in capital letters."""
    name = Path(path).name
    return next((name[: -len(suffix)] for suffix in SUFFIXES if name.lower().endswith(suffix)), name)


def _format_of(path: Path) -> Format | None:
    return next((form for form in FORMATS if path.name.lower().endswith(form.suffixes)), None)

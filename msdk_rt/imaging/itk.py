"""MetaImage, NRRD and GIPL files (.mha, .nrrd, .gipl) through SimpleITK, which the extra [itk] brings."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from msdk_rt.artifact.files import atomic_write, file_at, temporary_folder
from msdk_rt.errors import BackendError, InputError, OutputError
from msdk_rt.imaging.described import Described
from msdk_rt.imaging.itk_file import check_one_file, check_whole, doubts, read_text
from msdk_rt.imaging.space import Placed, Space, check_result_space
from msdk_rt.imaging.voxels import check_memory
from msdk_rt.inference.arrays import Array

# ITK's reader for each suffix: by itself it takes whatever the first bytes look like.
READERS = {".mha": "MetaImageIO", ".nrrd": "NrrdImageIO", ".gipl": "GiplImageIO"}
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])  # from ITK's axes to nibabel's
VOXELS = {
    "8-bit unsigned integer": np.uint8,
    "8-bit signed integer": np.int8,
    "16-bit unsigned integer": np.uint16,
    "16-bit signed integer": np.int16,
    "32-bit unsigned integer": np.uint32,
    "32-bit signed integer": np.int32,
    "64-bit unsigned integer": np.uint64,
    "64-bit signed integer": np.int64,
    "32-bit float": np.float32,
    "64-bit float": np.float64,
}


@dataclass(frozen=True, eq=False)
class ItkHeader:
    """An image's geometry as ITK has it: spacing and origin (3 each), direction (9, by rows)."""

    spacing: tuple[float, ...]
    origin: tuple[float, ...]
    direction: tuple[float, ...]


class ItkImage:
    """An opened file; implements msdk_rt.imaging.formats.Image. series: a fourth axis is allowed."""

    def __init__(self, path: Path, series: bool):
        reader = _simpleitk().ImageFileReader()
        self._text = read_text(path)
        check_one_file(self._text, path)
        reader.SetFileName(str(path))
        reader.SetImageIO(READERS[_suffix(path)])
        try:
            reader.ReadImageInformation()
        except RuntimeError as error:
            raise _unreadable(path, error) from error
        self._path, self._reader = path, reader
        self.doubts = doubts(self._text, path)
        self.shape = tuple(int(side) for side in reader.GetSize())
        self._dtype = _dtype(reader, path)
        if len(self.shape) < 3 or any(side != 1 for side in self.shape[4 if series else 3 :]):
            raise InputError(
                f"{path} has shape {self.shape}, expected one 3D volume: split the series, or stack slices"
            )
        if min(self.shape) < 1:
            raise InputError(f"{path} has shape {self.shape}: it holds no voxels")
        self._header = _geometry(reader, path)
        self.affine: Array = _affine(self._header)

    def voxels(self) -> Array:
        check_memory(self.shape, self._dtype, self._path)
        check_whole(self._text, self._path, int(np.prod(self.shape)) * self._dtype.itemsize)
        try:
            image = self._reader.Execute()
        except RuntimeError as error:
            raise _unreadable(self._path, error) from error
        view = _simpleitk().GetArrayViewFromImage(image)  # of the image's memory; X is its last axis
        with np.errstate(over="ignore"):
            return np.array(view.T, np.float32)

    def space(self, orientation: str) -> Space:
        x, y, z = self.shape[:3]
        a, b, c = self._header.spacing
        return Space(self.affine, (x, y, z), orientation, self._header, sides=(a, b, c))


class Itk:
    """Implements msdk_rt.imaging.formats.Format."""

    suffixes = results = tuple(READERS)

    def holds(self, path: Path) -> bool:
        return False

    def open(self, path: Path, *, series: bool, choice: str = "") -> ItkImage:
        if choice:
            raise InputError(f"{path} is no DICOM folder or zip, and a series is only chosen in these")
        return ItkImage(file_at(path, InputError, f"no file at {path}: expected an image"), series)

    def check_result(self, path: Path, source: Placed, source_path: Path, maps: int) -> None:
        result = self.open(path, series=True)
        check_result_space(source, result, source_path, path, maps)
        result.voxels()

    def check_library(self) -> None:
        _simpleitk()

    def write(self, array: Array, space: Space, path: Path, described: Described) -> None:
        """Spacing, origin and direction are the input's own numbers, where it was such a file too."""
        sitk = _simpleitk()
        if array.ndim != 3:
            raise OutputError(
                f"cannot write {path}: expected labels (X, Y, Z), got {array.ndim} axes. Give a .nii.gz name"
            )
        header = space.header if isinstance(space.header, ItkHeader) else _header_of(space)
        suffix = _suffix(path)
        if suffix == ".gipl" and not np.allclose(header.direction, np.eye(3).ravel()):
            raise OutputError(
                f"cannot write {path}: GIPL keeps no directions, and these axes are turned. Give a .mha name"
            )
        image = sitk.GetImageFromArray(np.ascontiguousarray(array.T))
        image.SetSpacing(header.spacing)
        image.SetOrigin(header.origin)
        image.SetDirection(header.direction)
        try:
            with temporary_folder(path.parent) as aside:
                written = aside / f"image{suffix}"
                sitk.WriteImage(image, str(written), True, imageIO=READERS[suffix])
                with atomic_write(path, "wb") as file:
                    file.write(written.read_bytes())
        except RuntimeError as error:
            raise OutputError(f"cannot write {path}: {error}; choose a folder with enough space") from error
        except OSError as error:
            raise OutputError(
                f"cannot write {path}: {error.strerror or error}; choose a writable folder with enough space"
            ) from error


def _simpleitk() -> Any:
    """SimpleITK. Raises BackendError where it is not installed."""
    try:
        import SimpleITK
    except ModuleNotFoundError as error:
        raise BackendError(
            f"{', '.join(READERS)} files need SimpleITK, which is not installed: pip install 'msdk_rt[itk]'"
        ) from error
    return SimpleITK


def _suffix(path: Path) -> str:
    return path.suffix.lower()


def _unreadable(path: Path, error: Exception) -> InputError:
    reason = " ".join(str(error).split()).rpartition("Reason: ")[2][-200:]
    return InputError(f"cannot read {path}: {reason}; it is damaged or of another format, copy it again")


def _dtype(reader: Any, path: Path) -> np.dtype[Any]:
    kind = _simpleitk().GetPixelIDValueAsString(reader.GetPixelIDValue())
    if kind not in VOXELS or reader.GetNumberOfComponents() != 1:
        raise InputError(f"{path} holds voxels of {kind}, expected one integer or real number each")
    return np.dtype(VOXELS[kind])


def _geometry(reader: Any, path: Path) -> ItkHeader:
    """Of the first three axes. A header may have negative spacing, where ITK's images have turned axes."""
    count = reader.GetDimension()
    sides = np.array(reader.GetSpacing()[:3])
    matrix = np.array(reader.GetDirection()).reshape(count, count)[:3, :3] * np.where(sides < 0, -1.0, 1.0)
    origin = reader.GetOrigin()[:3]
    numbers = np.array([*sides, *matrix.ravel(), *origin])
    if not np.isfinite(numbers).all() or not sides.all() or abs(np.linalg.det(matrix)) < 1e-6:
        raise InputError(
            f"{path} has voxels of {tuple(sides.tolist())} mm, directions {matrix.tolist()} and the origin "
            f"{origin}, expected finite numbers, sides above 0 and three directions: repair its header"
        )
    return ItkHeader(
        tuple(np.abs(sides).tolist()), tuple(float(at) for at in origin), tuple(matrix.ravel().tolist())
    )


def _affine(header: ItkHeader) -> Array:
    """From a voxel to millimetres in RAS."""
    affine = np.eye(4)
    affine[:3, :3] = np.array(header.direction).reshape(3, 3) * header.spacing
    affine[:3, 3] = header.origin
    return np.asarray(LPS @ affine)


def _header_of(space: Space) -> ItkHeader:
    """A space that came from another format, as ITK has it."""
    placed = LPS @ space.affine
    sides = np.linalg.norm(placed[:3, :3], axis=0)
    direction = placed[:3, :3] / sides
    return ItkHeader(tuple(sides.tolist()), tuple(placed[:3, 3].tolist()), tuple(direction.ravel().tolist()))

"""The voxels of a NIfTI file, read with no more memory than the file can fill, whatever its header says."""

import math
import zlib
from pathlib import Path

import nibabel
import numpy as np
from nibabel.openers import ImageOpener
from nibabel.volumeutils import apply_read_scaling

from msdk_rt.errors import InputError
from msdk_rt.inference.memory import available_memory

COMPRESSED = (".gz", ".bz2", ".zst")
UNREADABLE = (
    OSError,
    EOFError,
    ValueError,
    OverflowError,
    MemoryError,
    zlib.error,
    nibabel.filebasedimages.ImageFileError,
    nibabel.spatialimages.HeaderDataError,
)


def read_voxels(image: nibabel.Nifti1Image, path: Path) -> np.ndarray:
    """Scaled float32 voxels in the shape of the image, which was opened from `path`.

    nibabel's get_fdata fills a buffer of the size that the header names before it reads, so a header of a few
    bytes could take all of the memory. Raises InputError.
    """
    shape, dtype = image.shape, image.get_data_dtype()
    _check_memory(shape, dtype, path)
    proxy = image.dataobj
    try:
        stored = _stored(path, int(proxy.offset), math.prod(shape), dtype)
    except UNREADABLE as error:
        raise InputError(f"cannot read the voxels of {path}, is it truncated? {error}") from error
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = apply_read_scaling(stored, np.float64(proxy.slope), np.float64(proxy.inter))
        return scaled.astype(np.float32, copy=False).reshape(shape, order="F")


def _check_memory(shape: tuple[int, ...], dtype: np.dtype, path: Path) -> None:
    needed, available = math.prod(shape) * (dtype.itemsize + 4), available_memory()
    if available is not None and needed > available:
        raise InputError(
            f"{path} says that it has shape {shape}: to read it takes {needed / 1e9:.3g} GB of memory, "
            f"{available / 1e9:.3g} GB are free. Is its header damaged? If not, crop or resample it"
        )


def _stored(path: Path, offset: int, count: int, dtype: np.dtype) -> np.ndarray:
    """The first `count` numbers from `offset` bytes on. Memory is only taken where it is filled."""
    size = count * dtype.itemsize
    if path.suffix.lower() not in COMPRESSED and path.stat().st_size < offset + size:
        raise EOFError(f"expected {offset + size} bytes, it has {path.stat().st_size}")
    stored = np.empty(count, dtype)
    room = memoryview(stored.view(np.uint8))
    filled = 0
    with ImageOpener(str(path)) as file:
        file.seek(offset)
        while read := file.readinto(room[filled:]):
            filled += read
        if filled < size:
            raise EOFError(f"expected {size} bytes of voxels, it has {filled}")
        file.read(1)  # a compressed stream's checksum comes after its last byte
    return stored

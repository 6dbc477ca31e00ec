"""The voxels of a NIfTI file, read with no more memory than the file can fill, whatever its header says."""

import gzip
import math
import zlib
from itertools import combinations
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from nibabel.openers import ImageOpener
from nibabel.volumeutils import apply_read_scaling

from msdk_rt.backends.memory import available_memory
from msdk_rt.errors import InputError
from msdk_rt.inference.arrays import Array, Floats

BLOCK = 1 << 16
LEAST_BEYOND = 512  # bytes: fewer may be padding, however small the volume is
NO_STREAM = "Not a gzipped file"
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


def read_voxels(image: nibabel.Nifti1Image, path: Path) -> tuple[Floats, str]:
    """(scaled float32 voxels in the shape of the image, which was opened from `path`; a sentence about bytes
    that follow them, "" for none).

    nibabel's get_fdata fills a buffer of the size that the header names before it reads, so a header of a few
    bytes could take all of the memory. Raises InputError, also where as much follows as the smallest
    face of the volume has and it is not all zero: then the header's dimensions are not those of the voxels.
    """
    shape, dtype = image.shape, image.get_data_dtype()
    check_memory(shape, dtype, path)
    proxy: Any = image.dataobj  # an ArrayProxy: the image was opened from a file
    least = max(LEAST_BEYOND, min(math.prod(face) for face in combinations(shape[:3], 2)) * dtype.itemsize)
    try:
        stored, beyond = _stored(path, int(proxy.offset), math.prod(shape), dtype, least)
    except UNREADABLE as error:
        raise InputError(f"cannot read the voxels of {path}, is it truncated? {error}") from error
    if len(beyond) == least and any(beyond):
        raise InputError(
            f"{path} holds more voxels than the shape {shape} of {dtype} that its header says: the header is "
            "damaged, or a series is called one volume. Convert the original again"
        )
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = apply_read_scaling(stored, np.float64(proxy.slope), np.float64(proxy.inter))
        voxels: Floats = scaled.astype(np.float32, copy=False).reshape(shape, order="F")
    sentence = f"{path} goes on after its last voxel: what follows was ignored" if beyond else ""
    return voxels, sentence


def check_memory(shape: tuple[int, ...], dtype: np.dtype[Any], path: Path) -> None:
    """Raise InputError where such voxels, and float32 ones made of them, do not fit in memory."""
    needed, available = math.prod(shape) * (dtype.itemsize + 4), available_memory()
    if available is not None and needed > available:
        raise InputError(
            f"{path} says that it has shape {shape}: to read it takes {needed / 1e9:.3g} GB of memory, "
            f"{available / 1e9:.3g} GB are free. Is its header damaged? If not, crop or resample it"
        )


def _stored(path: Path, offset: int, count: int, dtype: np.dtype[Any], most: int) -> tuple[Array, bytes]:
    """(the first `count` numbers from `offset` bytes on, up to `most` bytes that follow them).

    Memory is only taken where it is filled.
    """
    size = count * dtype.itemsize
    if path.suffix.lower() not in COMPRESSED and path.stat().st_size < offset + size:
        raise EOFError(f"expected {offset + size} bytes, it has {path.stat().st_size}")
    stored = np.empty(count, dtype)
    room = memoryview(stored.view(np.uint8).data)
    filled = 0
    with ImageOpener(str(path)) as file:
        file.seek(offset)
        while read := file.readinto(room[filled:]):
            filled += read
        if filled < size:
            raise EOFError(f"expected {size} bytes of voxels, it has {filled}")
        return stored, _beyond(file, most)


def _beyond(file: ImageOpener, most: int) -> bytes:
    """Up to `most` of the bytes that are left. The end of a compressed stream checks its sum.

    After it, bytes that begin no other stream stand as one zero.
    """
    found = b""
    try:
        while len(found) < most and (more := file.read(min(most - len(found), BLOCK))):
            found += more
    except gzip.BadGzipFile as error:
        if NO_STREAM not in str(error):  # a wrong checksum is of the same class
            raise
        return found or b"\0"
    return found

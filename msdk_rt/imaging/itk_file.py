"""What ITK passes over in a file: voxels that are elsewhere or damaged, and what its header leaves open."""

import itertools
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from msdk_rt.errors import InputError
from msdk_rt.imaging.voxels import LEAST_BEYOND

HEADER_LINES = 1000
HEADER_BYTES = 1 << 20
GIPL_HEADER = 256  # bytes
BLOCK = 1 << 20
ANY_HEADER = 47  # zlib's wbits: a zlib or a gzip stream, whose checksum is compared
# How the names of spaces begin that ITK turns to its own axes; others it takes for these.
KNOWN_SPACES = (
    "left-posterior-superior",
    "right-anterior-superior",
    "left-anterior-superior",
    "lps",
    "ras",
    "las",
)
SKIPS = ("headersize", "line skip", "lineskip", "byte skip", "byteskip")


@dataclass(frozen=True)
class TextHeader:
    """The text before the voxels. entries: by name in small letters. size: its bytes."""

    entries: Mapping[str, str]
    size: int


def read_text(path: Path) -> TextHeader:
    """The text header of a .mha or .nrrd file; GIPL has none. Raises InputError for an unreadable file."""
    suffix = path.suffix.lower()
    if suffix == ".gipl":
        return TextHeader({}, GIPL_HEADER)
    sign = "=" if suffix == ".mha" else ":"
    entries: dict[str, str] = {}
    try:
        with path.open("rb") as file:
            for line in itertools.islice(iter(lambda: file.readline(HEADER_BYTES), b""), HEADER_LINES):
                name, found, value = line.decode("latin-1").partition(sign)
                if found and not value.startswith("="):  # NRRD's key:=value, which is the writer's own
                    entries[name.strip().lower()] = value.strip()
                if not line.strip() or "elementdatafile" in entries:
                    break
            return TextHeader(entries, file.tell())
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}; make it readable") from error


def check_one_file(header: TextHeader, path: Path) -> None:
    """Raise InputError for a header that names another file as the place of its voxels."""
    named = header.entries.get("elementdatafile", "LOCAL")
    if named.upper() == "LOCAL":
        named = header.entries.get("data file", header.entries.get("datafile", ""))
    if named:
        raise InputError(
            f"{path} says that its voxels are in {named!r}, expected one file with header and voxels: write "
            "it as one file"
        )


def doubts(header: TextHeader, path: Path) -> list[str]:
    """A sentence for each entry that is missing and that ITK guesses."""
    entries, suffix = header.entries, path.suffix.lower()
    sides = entries.get("elementspacing", entries.get("elementsize", ""))
    turned = bool({"transformmatrix", "orientation", "rotation"} & set(entries))
    if suffix == ".nrrd":
        directions = entries.get("space directions", "")
        sides = directions or entries.get("spacings", "")
        turned = bool(directions) and entries.get("space", "").lower().startswith(KNOWN_SPACES)
    said = []
    if suffix != ".gipl" and (not sides or "nan" in sides.lower()):
        said.append(f"{path} does not say how large its voxels are: they were taken for 1 mm")
    if not turned:
        why = "GIPL files never do" if suffix == ".gipl" else "its header has no such entry"
        said.append(
            f"{path} does not say its orientation ({why}): it was taken for LPS, a guess. Where that is "
            "wrong, left and right are exchanged: convert the original again"
        )
    return said


def check_whole(header: TextHeader, path: Path, size: int) -> None:
    """Raise InputError where voxels are missing, damaged or too many. size: bytes of all voxels.

    ITK reads such files too, and what it then gives are not the voxels.
    """
    entries = header.entries
    if any(name in entries for name in SKIPS):
        return
    encoding = entries.get("encoding", "raw").lower()
    if entries.get("compresseddata", "").lower() == "true" or encoding in ("gzip", "gz"):
        found = _unpacked(path, header.size, size)
    elif encoding == "raw":
        found = path.stat().st_size - header.size
    else:
        return
    if not size <= found < size + LEAST_BEYOND:
        raise InputError(
            f"{path} holds {max(found, 0)} bytes of sound voxels, expected {size} by its header: it is "
            "damaged, convert or copy the original again"
        )


def _unpacked(path: Path, start: int, size: int) -> int:
    """Bytes that a packed stream holds, little more than `size` at most; fewer where it is damaged."""
    unpacking, found = zlib.decompressobj(ANY_HEADER), 0
    with path.open("rb") as file:
        file.seek(start)
        try:
            while not unpacking.eof and found < size + LEAST_BEYOND and (packed := file.read(BLOCK)):
                while packed and found < size + LEAST_BEYOND:
                    found += len(unpacking.decompress(packed, BLOCK))
                    packed = unpacking.unconsumed_tail
        except zlib.error:
            return min(found, size - 1)
    return found if unpacking.eof or found > size else min(found, size - 1)

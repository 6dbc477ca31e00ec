"""The DICOM files of a folder, of a zip, or one alone. A zip is never unpacked to disk."""

import contextlib
import io
import os
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from msdk_rt.backends.memory import available_memory
from msdk_rt.errors import InputError

MARK, MARK_AT = b"DICM", 128  # PS3.10, 7.1
MOST_FILES = 100_000
MOST_RATIO = 200  # of a zip's content to its size; images compress to a third, empty ones to a hundredth
SMALL = 64 << 20  # bytes of content up to which the ratio does not matter
DICOM_NAMES = (".dcm", ".ima")
BAD_ZIP = (zipfile.BadZipFile, zlib.error, OSError, ValueError, NotImplementedError, RuntimeError, EOFError)


@dataclass(frozen=True)
class Container:
    """path: a folder, a zip or a file. names: its DICOM files in order, in the folder or the zip."""

    path: Path
    names: tuple[str, ...]

    @contextlib.contextmanager
    def opened(self) -> Iterator["Opened"]:
        """The files, to be opened one after the other. Raises InputError."""
        with contextlib.ExitStack() as held:
            archive = held.enter_context(_zip(self.path)) if is_zip(self.path) else None
            yield Opened(self, archive)

    def says(self, index: int) -> str:
        """A file in a message: its number, since its name may be a person's."""
        return f"file {index + 1} of {len(self.names)} (by name) in {self.path}"


@dataclass(frozen=True)
class Opened:
    """The files of a container that is open."""

    container: Container
    archive: zipfile.ZipFile | None

    @contextlib.contextmanager
    def file(self, index: int) -> Iterator[BinaryIO]:
        """The file of this number. Raises InputError."""
        name, path = self.container.names[index], self.container.path
        try:
            if self.archive is not None:
                with self.archive.open(name) as member:
                    content = io.BytesIO(member.read())
                yield content
            else:
                with (path / name if path.is_dir() else path).open("rb") as file:
                    yield file
        except BAD_ZIP as error:
            if isinstance(error, InputError):
                raise
            raise InputError(
                f"{self.container.says(index)} cannot be read ({type(error).__name__}): copy it again"
            ) from None


def open_container(path: Path) -> Container:
    """The DICOM files of a folder and the folders in it, of a zip, or one file. Reads their first bytes.

    Other files are passed over: hidden ones, texts, a DICOMDIR. Raises InputError where none is DICOM, where
    one that is named as DICOM or empty is not, and for a zip that holds too much, leads out of its folder or
    is encrypted.
    """
    names = _names(path)
    if len(names) > MOST_FILES:
        raise InputError(f"{path} holds {len(names)} files, at most {MOST_FILES} are read: give one study")
    everything = Container(path, tuple(names))
    kept = []
    with everything.opened() as files:
        for index, name in enumerate(names):
            start = _start_of(files, index)
            if start[MARK_AT:] == MARK:
                kept.append(name)
            elif not start or PurePosixPath(name).suffix.lower() in DICOM_NAMES:
                state = "is empty" if not start else "is named as DICOM and is none"
                raise InputError(
                    f"{everything.says(index)} {state}: a slice may be lost, copy the folder again"
                )
    if not kept:
        raise InputError(f"{path} holds no DICOM file: give the folder of a series, or a NIfTI file")
    return Container(path, tuple(kept))


def holds_dicom(path: Path) -> bool:
    """Whether it is a DICOM file, or a folder or a zip in which one is.

    True for a zip that cannot be trusted, so that opening it says why; False for anything else unreadable.
    """
    if os.path.isdir(path):  # False for a name that no file can have, which Path.is_dir refuses
        return first_in(path) is not None
    if not is_zip(path):
        return _is_dicom(path)
    try:
        names = _names(path)
        with Container(path, tuple(names)).opened() as files:
            return any(_is_marked(files, index) for index in range(len(names)))
    except InputError:
        return True


def holds_dicom_at_top(folder: Path) -> bool:
    """Whether a DICOM file lies in the folder itself, not in a folder of it."""
    return any(_is_dicom(path) for path in _listed(folder) if path.is_file())


def first_in(folder: Path) -> Path | None:
    """The first DICOM file of a folder and the folders in it."""
    return next((folder / name for name in _walk(folder) if _is_dicom(folder / name)), None)


def is_zip(path: Path) -> bool:
    """Whether it is a file that is named as a zip."""
    return path.suffix.lower() == ".zip" and os.path.isfile(path)


def _is_marked(files: Opened, index: int) -> bool:
    return _start_of(files, index)[MARK_AT:] == MARK


def _names(path: Path) -> list[str]:
    if path.is_dir():
        return list(_walk(path))
    if not path.is_file():
        raise InputError(f"no file at {path}: expected a DICOM folder, a zip of one, or a DICOM file")
    if not is_zip(path):
        return [path.name]
    with _zip(path) as archive:
        return _checked_members(path, archive)


def _walk(folder: Path) -> Iterator[str]:
    """Files below the folder in order, hidden ones left out. Links to folders are not followed."""
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if _may_be_image(name):
                yield os.path.relpath(os.path.join(place, name), folder)


def _may_be_image(name: str) -> bool:
    return not name.startswith(".") and name.upper() != "DICOMDIR"


def _listed(folder: Path) -> Sequence[Path]:
    try:
        return sorted(path for path in folder.iterdir() if _may_be_image(path.name))
    except OSError:
        return []


def _is_dicom(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(MARK_AT + len(MARK))[MARK_AT:] == MARK
    except OSError:
        return False


def _start_of(files: Opened, index: int) -> bytes:
    """The first bytes of a file, read without the rest of it."""
    if files.archive is None:
        with files.file(index) as file:
            return file.read(MARK_AT + len(MARK))
    try:
        with files.archive.open(files.container.names[index]) as member:
            return member.read(MARK_AT + len(MARK))
    except BAD_ZIP as error:
        raise InputError(
            f"{files.container.says(index)} cannot be read ({type(error).__name__}): copy the zip again"
        ) from None


def _zip(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except BAD_ZIP as error:
        raise InputError(
            f"{path} is no zip that can be read ({type(error).__name__}): copy it again"
        ) from None


def _checked_members(path: Path, archive: zipfile.ZipFile) -> list[str]:
    members = [member for member in archive.infolist() if not member.is_dir()]
    for member in members:
        parts = PurePosixPath(member.filename.replace("\\", "/"))
        if parts.is_absolute() or ".." in parts.parts or (parts.parts[:1] and parts.parts[0].endswith(":")):
            raise InputError(
                f"{path} has a member whose name leads out of its folder: nobody packs a series so, refuse it"
            )
        if member.flag_bits & 1:
            raise InputError(f"{path} is encrypted: unpack it with its password, and give the folder")
    content, size = sum(member.file_size for member in members), max(path.stat().st_size, 1)
    available = available_memory()
    if content > SMALL and content > MOST_RATIO * size:
        raise InputError(
            f"{path} would unpack to {content / 1e9:.3g} GB, {content / size:.0f} times its size: no images "
            "compress so far, it is a zip bomb"
        )
    if available is not None and max((m.file_size for m in members), default=0) > available:
        raise InputError(
            f"{path} holds a file larger than the {available / 1e9:.3g} GB of free memory: unpack it"
        )
    twice = len(members) - len({member.filename for member in members})
    if twice:
        raise InputError(f"{path} holds {twice} file(s) under a name that another has: pack it again")
    return sorted(
        member.filename
        for member in members
        if all(_may_be_image(part) for part in PurePosixPath(member.filename).parts)
        and not member.filename.startswith("__MACOSX/")
    )

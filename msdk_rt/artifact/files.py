"""Files that are either whole or not there.

A file that is being written has a name `.msdk-*.part` and a lock that ends with its process, however that
ends. A `.part` file without a lock was left by a process that was killed; the next process removes it. Where
several machines share a folder, locks of other machines may not be seen: of theirs, only files that have not
changed for a day are removed.
"""

import contextlib
import hashlib
import json
import os
import platform
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from msdk_rt.artifact import locks
from msdk_rt.errors import InputError, MsdkError, OutputError, shown

LEFTOVERS = ".msdk-*.part"
_LOCK = ".lock"  # ends the name of a file that stands in for a path that cannot be locked
OLD = 24 * 3600  # seconds


def _running_system() -> str:
    """Eight characters for the system that runs now, other ones after a restart and on another machine."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text()[:8]
    except OSError:
        return hashlib.sha256(platform.node().encode()).hexdigest()[:8]


OURS = f".msdk-{_running_system()}-"


def path_of(given: object, error: type[MsdkError]) -> Path:
    """What was given as a Path. Raises `error` for what cannot be the name of a file."""
    if not isinstance(given, (str, os.PathLike)) or isinstance(os.fspath(given), bytes):
        raise error(f"expected the path of a file, got {shown(given)}: give a string or a pathlib.Path")
    path = Path(given)
    if not path.name or "\0" in str(path):
        raise error(f"{shown(str(given))} is no name of a file: correct it")
    return path


def file_at(given: object, error: type[MsdkError], missing: str) -> Path:
    """The Path of a file that can be read. Raises `error`, with `missing` where there is none."""
    path = path_of(given, error)
    try:
        if path.is_file():
            with path.open("rb"):
                return path
        is_folder = path.is_dir()
    except OSError as refused:  # no permission, a name too long for any file
        raise error(f"cannot read {path}: {refused.strerror or refused}") from refused
    raise error(f"{missing}; it is a folder" if is_folder else missing)


def read_object(path: Path, what: str = "a JSON object") -> dict[str, Any]:
    """The JSON object in a file that is somebody else's. what: is expected there. Raises InputError."""
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {path}: {error}; expected {what}") from error
    if not isinstance(entries, dict):
        raise InputError(f"{path} holds a {type(entries).__name__}, expected {what}")
    return entries


@contextlib.contextmanager
def atomic_write(path: str | Path, mode: str = "wb") -> Iterator[IO[Any]]:
    """A file object whose content appears at `path` when the block ends well, and nowhere otherwise.

    mode: "wb" or "w" (UTF-8). The content goes to a temporary file in the same folder, reaches the disk, and
    is renamed over `path`; any exception, KeyboardInterrupt among them, removes it and leaves an older file
    as it was. Raises OutputError when the system refuses: folder missing, no permission, disk full.
    """
    path = path_of(path, OutputError)
    with contextlib.ExitStack() as undone:
        try:
            temporary, release = _create(path.parent, Path.touch)
            undone.callback(release)
            undone.callback(temporary.unlink, missing_ok=True)
            with temporary.open(mode, encoding=None if "b" in mode else "utf-8") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except OutputError:
            raise
        except OSError as error:
            raise OutputError(
                f"cannot write {path}: {error.strerror or error}; choose a writable folder with enough space"
            ) from error


@contextlib.contextmanager
def temporary_folder(parent: Path) -> Iterator[Path]:
    """A new folder inside `parent`, gone at the end. Raises OSError."""
    folder, release = _create(parent, Path.mkdir)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        release()


@contextlib.contextmanager
def private_folder() -> Iterator[Path]:
    """A folder for temporary files that only this user can read, gone at the end.

    Those that killed runs left go first. Raises OSError.
    """
    temporary = Path(tempfile.gettempdir())
    remove_leftovers(temporary)
    with temporary_folder(temporary) as folder:
        folder.chmod(0o700)
        yield folder


def remove_leftovers(folder: Path) -> None:
    """Delete files that killed processes left half-written in `folder`; files being written now stay."""
    for path in folder.glob(LEFTOVERS):
        with contextlib.suppress(OSError):  # held, gone, a link, or no locks there: not ours to judge
            if not path.name.startswith(OURS) and time.time() - path.lstat().st_mtime < OLD:
                continue
            release = locks.lock(path, _stand_in(path), wait=False)
            try:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            finally:
                release()
    for stand_in in folder.glob(LEFTOVERS + _LOCK):
        if not stand_in.with_suffix("").exists():
            with contextlib.suppress(OSError):  # Windows keeps one that is held
                stand_in.unlink()


def _create(parent: Path, make: Callable[..., None]) -> tuple[Path, Callable[[], None]]:
    """A new file or folder in `parent`, made by `make` and locked, and what lets its lock go."""
    while True:
        path = parent / f"{OURS}{secrets.token_hex(8)}.part"
        make(path, exist_ok=False)
        try:
            release = locks.lock(path, _stand_in(path))
        except FileNotFoundError:  # another process took it for a leftover before it was locked
            continue
        except OSError:  # a disk without locks: there nothing is taken for a leftover
            return path, _nothing
        if path.exists():
            return path, release
        release()


def _stand_in(path: Path) -> Path:
    return path.with_name(path.name + _LOCK)


def _nothing() -> None:
    """Lets go of a lock that could not be had."""


@contextlib.contextmanager
def folder_lock(folder: str | Path, shared: bool = False) -> Iterator[None]:
    """Hold the lock of `folder` in the block: alone, or with others that share it.

    A writer that replaces two files that belong together holds it alone; a reader of both shares it. It ends
    with the process and leaves no file. A file system without locks, or a folder that cannot be opened, locks
    nothing: the caller must still check the files that it read or wrote.
    """
    with contextlib.ExitStack() as held:
        with contextlib.suppress(OSError):
            place = Path(folder).resolve()
            held.callback(locks.lock(place, place / f".msdk{_LOCK}", shared=shared))
        yield


def remove(path: Path) -> None:
    """Delete the file at `path`, if there is one. Raises OutputError."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(
            f"cannot remove {path}: {error.strerror or error}; delete it, or choose another output"
        ) from error


def check_writable(folder: str | Path) -> None:
    """Create `folder` where it is missing and prove that a file can be written there, before the long work.

    Removes files that killed processes left there. Raises OutputError.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder, prefix=".msdk-") as file:
            file.write(b"\0")
        remove_leftovers(folder)
    except OSError as error:
        raise OutputError(
            f"cannot write into {folder}: {error.strerror or error}; choose a writable folder"
        ) from error

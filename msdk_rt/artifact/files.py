"""Files that are either whole or not there.

A file that is being written has a name `.msdk-*.part` and a lock that ends with its process, however that
ends. A `.part` file without a lock was left by a process that was killed; the next process removes it. Where
several machines share a folder, locks of other machines may not be seen: of theirs, only files that have not
changed for a day are removed.
"""

import contextlib
import fcntl
import hashlib
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from msdk_rt.errors import MsdkError, OutputError, shown

LEFTOVERS = ".msdk-*.part"
OLD = 24 * 3600  # seconds


def _running_system() -> str:
    """Eight characters for the system that runs now, other ones after a restart and on another machine."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text()[:8]
    except OSError:
        return hashlib.sha256(os.uname().nodename.encode()).hexdigest()[:8]


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


@contextlib.contextmanager
def atomic_write(path: str | Path, mode: str = "wb") -> Iterator[IO[Any]]:
    """A file object whose content appears at `path` when the block ends well, and nowhere otherwise.

    mode: "wb" or "w" (UTF-8). The content goes to a temporary file in the same folder, reaches the disk, and
    is renamed over `path`; any exception, KeyboardInterrupt among them, removes it and leaves an older file
    as it was. Raises OutputError when the system refuses: folder missing, no permission, disk full.
    """
    path = path_of(path, OutputError)
    temporary = None
    try:
        temporary, descriptor = _create(path.parent, _new_file)
        with open(descriptor, mode, encoding=None if "b" in mode else "utf-8") as file:
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
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def temporary_folder(parent: Path) -> Iterator[Path]:
    """A new folder inside `parent`, gone at the end. Raises OSError."""
    folder, descriptor = _create(parent, _new_folder)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


def remove_leftovers(folder: Path) -> None:
    """Delete files that killed processes left half-written in `folder`; files being written now stay."""
    for path in folder.glob(LEFTOVERS):
        with contextlib.suppress(OSError):  # held, gone, or on a disk without locks: not ours to judge
            if not path.name.startswith(OURS) and time.time() - path.lstat().st_mtime < OLD:
                continue
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            finally:
                os.close(descriptor)


def _create(parent: Path, make: Callable[[Path], int]) -> tuple[Path, int]:
    """A new path in `parent` and the descriptor that `make` gave for it, locked."""
    while True:
        path = parent / f"{OURS}{secrets.token_hex(8)}.part"
        descriptor = make(path)
        with contextlib.suppress(OSError):  # a disk without locks: there nothing is taken for a leftover
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if path.exists():  # else another process took it for a leftover before it was locked
            return path, descriptor
        os.close(descriptor)


def _new_file(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)


def _new_folder(path: Path) -> int:
    while True:
        path.mkdir()
        with contextlib.suppress(FileNotFoundError):  # taken for a leftover at once
            return os.open(path, os.O_RDONLY)


@contextlib.contextmanager
def folder_lock(folder: str | Path, shared: bool = False) -> Iterator[None]:
    """Hold the lock of `folder` in the block: alone, or with others that share it.

    A writer that replaces two files that belong together holds it alone; a reader of both shares it. It ends
    with the process and leaves no file. A file system without locks, or a folder that cannot be opened, locks
    nothing: the caller must still check the files that it read or wrote.
    """
    with contextlib.ExitStack() as held:
        with contextlib.suppress(OSError):
            handle = os.open(folder, os.O_RDONLY)
            held.callback(os.close, handle)
            fcntl.flock(handle, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
            held.callback(fcntl.flock, handle, fcntl.LOCK_UN)  # a process forked meanwhile has it open too
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

"""Files that are either whole or not there.

What is being written has a name `.msdk-*.part` and a lock that ends with its process, however that ends: what
nobody holds a lock on was left by a process that was killed, and is removed by the next one.
"""

import contextlib
import fcntl
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from msdk_rt.errors import OutputError

LEFTOVERS = ".msdk-*.part"
NEWBORN = 5.0  # seconds


@contextlib.contextmanager
def atomic_write(path: str | Path, mode: str = "wb") -> Iterator[IO]:
    """A file object whose content appears at `path` when the block ends well, and nowhere otherwise.

    mode: "wb" or "w" (UTF-8). The content goes to a temporary file in the same folder, reaches the disk, and
    is renamed over `path`; any exception, KeyboardInterrupt among them, removes it and leaves an older file
    as it was. Raises OutputError when the system refuses: folder missing, no permission, disk full.
    """
    path = Path(path)
    temporary = _temporary(path.parent)
    try:
        with open(temporary, mode.replace("w", "x"), encoding=None if "b" in mode else "utf-8") as file:
            _hold(file.fileno())
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
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            temporary.unlink()


@contextlib.contextmanager
def temporary_folder(parent: Path) -> Iterator[Path]:
    """A new folder inside `parent`, gone at the end. Raises OSError."""
    folder = _temporary(parent)
    folder.mkdir()
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        _hold(descriptor)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


def remove_leftovers(folder: Path) -> None:
    """Delete what killed processes left half-written in `folder`; what another one writes now stays."""
    for path in folder.glob(LEFTOVERS):
        with contextlib.suppress(OSError):  # held, gone, or on a disk without locks: not ours to judge
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _is_newborn(path):
                    continue
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            finally:
                os.close(descriptor)


def _temporary(folder: Path) -> Path:
    return folder / f".msdk-{secrets.token_hex(8)}.part"


def _hold(descriptor: int) -> None:
    with contextlib.suppress(OSError):  # a disk without locks: then nothing of it is taken for a leftover
        fcntl.flock(descriptor, fcntl.LOCK_EX)


def _is_newborn(path: Path) -> bool:
    """Empty and so young that its process may be about to lock it."""
    empty = not any(path.iterdir()) if path.is_dir() else path.stat().st_size == 0
    return empty and time.time() - path.stat().st_mtime < NEWBORN


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

    Removes what killed processes left there. Raises OutputError.
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

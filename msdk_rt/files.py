"""Files that are either whole or not there."""

import contextlib
import os
import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from msdk_rt.errors import OutputError


@contextlib.contextmanager
def atomic_write(path: str | Path, mode: str = "wb") -> Iterator[IO]:
    """A file object whose content appears at `path` when the block ends well, and nowhere otherwise.

    mode: "wb" or "w" (UTF-8). The content goes to a temporary file in the same folder, reaches the disk, and
    is renamed over `path`; any exception, KeyboardInterrupt among them, removes it and leaves an older file
    as it was. Raises OutputError when the system refuses: folder missing, no permission, disk full.
    """
    path = Path(path)
    temporary = path.with_name(f".msdk-{secrets.token_hex(8)}.part")
    try:
        with open(temporary, mode.replace("w", "x"), encoding=None if "b" in mode else "utf-8") as file:
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

    Raises OutputError.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder, prefix=".msdk-") as file:
            file.write(b"\0")
    except OSError as error:
        raise OutputError(
            f"cannot write into {folder}: {error.strerror or error}; choose a writable folder"
        ) from error

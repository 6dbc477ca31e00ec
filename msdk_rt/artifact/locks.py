"""Locks of files and folders that end with their process, however that ends.

Linux and macOS lock the file or folder itself, so a lock leaves nothing behind. Windows cannot open a folder:
there a small file stands in for it, locked by the filelock package.
"""

import contextlib
import os
import sys
from collections.abc import Callable
from pathlib import Path


def lock_itself(path: Path, stand_in: Path, *, shared: bool = False, wait: bool = True) -> Callable[[], None]:
    """Lock the file or folder at `path`, alone or with others that share it; returns what lets it go.

    Raises OSError: no such path, a link, a file system without locks, or held by another and not waited for.
    """
    if sys.platform == "win32":
        raise OSError("Windows has no locks of folders")
    import fcntl

    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        fcntl.flock(descriptor, kind if wait else kind | fcntl.LOCK_NB)
    except BaseException:
        os.close(descriptor)
        raise

    def release() -> None:
        fcntl.flock(descriptor, fcntl.LOCK_UN)  # a process forked meanwhile has it open too
        os.close(descriptor)

    return release


def lock_stand_in(
    path: Path, stand_in: Path, *, shared: bool = False, wait: bool = True
) -> Callable[[], None]:
    """The same by a file `stand_in`, made where it is missing; those who would share the lock take turns."""
    from filelock import FileLock

    if path.is_symlink() or not path.exists():
        raise FileNotFoundError(path)
    lock = FileLock(stand_in)
    lock.acquire(blocking=wait)  # what it raises, Timeout too, is an OSError

    def release() -> None:
        # While it is held, so that it cannot be another's; Windows refuses that, and filelock does it there.
        with contextlib.suppress(OSError):
            stand_in.unlink()
        lock.release()

    return release


lock = lock_stand_in if sys.platform == "win32" else lock_itself

"""Files of object stores by URL, through fsspec. Whatever a store's library raises becomes a sentence."""

import contextlib
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from msdk_rt.errors import InputError, MsdkError, OutputError, one_line

# What stores call the version of a file: a hash or a number of it, else the time of its last change.
VERSIONS = (
    *("ETag", "etag", "md5Hash", "generation", "content_md5", "Content-MD5", "Digest"),
    *("LastModified", "last_modified", "Last-Modified", "mtime", "modify", "modificationTime"),
)
PARTS = ".msdk-{}.part"


def state(url: str) -> dict[str, Any]:
    """Name, URL, size and version of a file, of JSON types; version is None where the store tells none.

    Raises InputError.
    """
    info = _info(url)
    if info is None:
        raise InputError(f"no file at {url}")
    version = next((f"{key} {info[key]}" for key in VERSIONS if info.get(key)), None)
    return {"file": _name(url), "url": url, "bytes": info.get("size"), "version": version}


def is_file(url: str) -> bool:
    """Whether there is a file. Raises InputError where the store does not answer."""
    return _info(url) is not None


def fetch(url: str, path: Path) -> None:
    """Copy a file of the store to `path`. Raises InputError."""
    with _asking(f"fetch {url}", InputError):
        store, place = _open(url)
        path.parent.mkdir(parents=True, exist_ok=True)
        store.get_file(place, str(path))
        _check(store.info(place).get("size"), path.stat().st_size, url)


def fetch_start(url: str, path: Path, size: int) -> None:
    """Copy the first bytes of a file of the store to `path`. Raises InputError."""
    with _asking(f"fetch {url}", InputError):
        store, place = _open(url)
        path.write_bytes(store.cat_file(place, start=0, end=size))


def put(path: Path, url: str) -> None:
    """Copy a file to the store: under its name there is all of it, or what was there before.

    A store of objects shows one when all of it has come. Where files can be renamed it gets another name
    first. Raises OutputError.
    """
    with _asking(f"write {url}", OutputError):
        store, place = _open(url)
        if _renames(store):
            _put_renamed(store, path, place)
        else:
            _put_whole(store, path, place)


def remove(url: str) -> None:
    """Delete a file of the store. Raises OutputError."""
    with _asking(f"remove {url}", OutputError):
        store, place = _open(url)
        store.rm_file(place)


def check_writable(url: str) -> None:
    """Prove that a file can be written into the folder, before the long work. Raises OutputError."""
    with _asking(f"write into {url}", OutputError):
        store, place = _open(url)
        if _renames(store):
            store.makedirs(place, exist_ok=True)
        probe = f"{place}/{PARTS.format(secrets.token_hex(8))}"
        store.pipe_file(probe, b"\0")
        store.rm_file(probe)


def names_in(url: str, missing_ok: bool = False) -> dict[str, bool]:
    """{name: whether it is a folder} of what lies in a folder.

    missing_ok: a missing folder is an empty one. Raises InputError.
    """
    with _asking(f"list {url}", InputError):
        store, place = _open(url)
        try:
            entries = store.ls(place, detail=True)
        except FileNotFoundError:
            if not missing_ok:
                raise
            return {}
        own = place.rstrip("/")
        names = [(str(entry["name"]).rstrip("/"), entry["type"] == "directory") for entry in entries]
        return {_name(name): folder for name, folder in names if name != own and "?" not in _name(name)}


def files_below(url: str) -> list[str]:
    """Names of all files in a folder and its folders, relative to it. Raises InputError."""
    with _asking(f"list {url}", InputError):
        store, place = _open(url)
        start = f"{place.rstrip('/')}/"
        found = [str(name) for name in store.find(place)]
        return [name.removeprefix(start) for name in found if name.startswith(start) and name != start]


def _info(url: str) -> dict[str, Any] | None:
    """What the store knows of a file; None where there is none."""
    with _asking(f"read {url}", InputError):
        store, place = _open(url)
        try:
            info: dict[str, Any] = store.info(place)
        except FileNotFoundError:
            return None
        return None if info.get("type") == "directory" else info


def _put_whole(store: Any, path: Path, place: str) -> None:
    store.put_file(str(path), place)
    _check(store.info(place).get("size"), path.stat().st_size, place)


def _put_renamed(store: Any, path: Path, place: str) -> None:
    folder = place.rpartition("/")[0]
    store.makedirs(folder, exist_ok=True)
    part = f"{folder}/{PARTS.format(secrets.token_hex(8))}"
    try:
        _put_whole(store, path, part)
        try:
            store.mv(part, place)
        except Exception:  # as of servers that rename over no other file
            if not store.exists(place):
                raise
            store.rm_file(place)
            store.mv(part, place)
    except BaseException:
        with contextlib.suppress(Exception):  # the first failure is the one to tell
            store.rm_file(part)
        raise


def _renames(store: Any) -> bool:
    """Whether a file can get another name, which stores of objects can do by a copy alone."""
    from fsspec.spec import AbstractFileSystem

    return type(store).mv is not AbstractFileSystem.mv


@contextlib.contextmanager
def _asking(doing: str, kind: type[MsdkError]) -> Iterator[None]:
    """Whatever fails in the block is raised as `kind`: each library of a store has exceptions of its own."""
    try:
        yield
    except MsdkError:
        raise
    except Exception as error:
        reason = one_line(error) or type(error).__name__
        if isinstance(error, FileNotFoundError) and " " not in reason:
            reason = "nothing is there"
        raise kind(f"cannot {doing}: {reason.rstrip('.')}; {_advice(error)}") from error


def _advice(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "correct the URL, or make the bucket"
    if isinstance(error, PermissionError) or "redentials" in str(error):
        return (
            "give this user the permission, or its credentials as fsspec's library for the store takes them"
        )
    return "see that the store can be reached from here, then run again"


def _open(url: str) -> tuple[Any, str]:
    """(fsspec's file system, the place in it). Raises InputError."""
    try:
        from fsspec.core import url_to_fs
    except ModuleNotFoundError as error:
        raise InputError(
            f"{url} is a URL, which needs fsspec, and {error.name} is not installed: "
            "pip install 'msdk_rt[remote]'"
        ) from error
    scheme = url.partition("://")[0]
    try:
        store, place = url_to_fs(url, use_listings_cache=False)
    except ImportError as error:
        raise InputError(f"{url}: fsspec lacks the library for {scheme}://: {one_line(error)}") from error
    except ValueError as error:
        raise InputError(
            f"{url}: fsspec knows no {scheme}:// ({one_line(error)}): expected such as s3, gs or https"
        ) from error
    return store, str(place)


def _check(there: int | None, here: int, place: str) -> None:
    """there: bytes by the store, None where it does not tell."""
    if there is not None and there != here:
        raise OSError(f"{place} has {there} bytes there and {here} here")


def _name(url: str) -> str:
    return url.rpartition("/")[2]

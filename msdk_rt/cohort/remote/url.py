"""What the command line takes for a place of files: a path, or the URL of an object store."""

import argparse
import re
from pathlib import Path
from urllib.request import url2pathname

SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.:-]+)://(.*)", re.DOTALL)  # one letter is a drive of Windows
WEB = ("http", "https")


class Url(str):
    """The URL of a file or a folder, without a slash at its end."""

    __slots__ = ()

    @property
    def parent(self) -> str:
        return self.rpartition("/")[0]

    @property
    def name(self) -> str:
        return self.rpartition("/")[2]

    @property
    def scheme(self) -> str:
        return self.partition("://")[0]


def location(text: str) -> Path | Url:
    """A path, also of a file:// URL, or a URL. Raises argparse.ArgumentTypeError for a URL of no use here."""
    match = SCHEME.fullmatch(text)
    if match is None:
        return Path(text)
    scheme, place = match[1].lower(), match[2].rstrip("/")
    host = place.partition("/")[0]
    if fault := _fault(scheme, host, place):
        raise argparse.ArgumentTypeError(fault)
    if scheme == "file":
        return Path(url2pathname(place.removeprefix("localhost")))
    return Url(f"{scheme}://{place}")


def _fault(scheme: str, host: str, place: str) -> str:
    """Why a URL cannot be used, "" if it can. Repeats nothing that may be a secret."""
    if not place:
        return f"{scheme}:// names no file or folder: add it"
    if "@" in host:
        return (
            f"a {scheme}:// URL with a user or a password would be written into reports: give those in the "
            "environment or in fsspec's configuration"
        )
    if "::" in scheme or "::" in place:
        return f"{scheme}://{place} is a chain of URLs: give the URL of the file itself"
    if scheme == "memory":
        return "memory:// ends with the process that wrote it: give a place that stays"
    if scheme in WEB and ("?" in place or "#" in place):
        return f"a {scheme}:// URL with a query or a fragment is not taken: give one that ends in the name"
    if scheme == "file" and host not in ("", "localhost"):
        return f"file://{place} is on another machine, {host}: expected file:///PATH"
    return ""

"""The cgroups that limit this process, of versions 1 and 2: its own and those around it."""

import os
from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/")


def cgroup_folders(controller: str, root: Path = ROOT) -> Iterator[Path]:
    """The folders of this process's cgroups that can limit `controller`, such as "cpu" or "memory".

    Of each hierarchy the process's own cgroup comes first, then those around it that can be seen: a
    container's root may be the only one that can. root: of the file system that holds /proc and /sys.
    """
    for controllers, path in _memberships(controller, root):
        yield from _folders(controller, controllers, path, root)


def text_of(path: Path) -> str:
    """A file's content, "" where it cannot be read."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def _memberships(controller: str, root: Path) -> Iterator[tuple[str, str]]:
    """(controllers, path) of each cgroup of this process that can limit `controller`; "" for version 2."""
    for line in text_of(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, colon, path = rest.partition(":")
        if colon and (not controllers or controller in controllers.split(",")):
            yield controllers, path


def _folders(controller: str, controllers: str, path: str, root: Path) -> Iterator[Path]:
    """The cgroup's folder and those around it, up to where the hierarchy is mounted."""
    for mounted, at, kind, options in _mounts(root):
        wanted = controller in options.split(",") if controllers else kind == "cgroup2"
        if not wanted or (controllers and kind != "cgroup"):
            continue
        top = root / at.lstrip("/")
        inside = os.path.relpath(path, mounted)
        folder = top if inside.startswith("..") else top / inside
        yield from (place for place in (folder, *folder.parents) if place.is_relative_to(top))


def _mounts(root: Path) -> Iterator[tuple[str, str, str, str]]:
    """(which folder of its file system, mounted where, type, the file system's options) of each mount."""
    for line in text_of(root / "proc/self/mountinfo").splitlines():
        place, dash, source = line.partition(" - ")
        words, kinds = place.split(), source.split()
        if dash and len(words) >= 5 and len(kinds) >= 3:
            mounted, at = (word.replace("\\040", " ") for word in words[3:5])
            yield mounted, at, kinds[0], kinds[2]

"""Images that MONAI Label's clients upload before they have them segmented."""

import secrets
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from msdk_rt.imaging.formats import stem
from msdk_rt.server.limits import Limits
from msdk_rt.server.refusals import Refusal, busy, not_found

LONGEST_NAME = 200


@dataclass(frozen=True)
class Image:
    """path: of its file, alone in its folder. since: when it came."""

    path: Path
    since: float


class Images:
    """The images of a server by the names that clients gave them, which are no part of any path."""

    def __init__(self, folder: Path, limits: Limits):
        self._folder, self._limits = folder, limits
        self._images: dict[str, Image] = {}
        self._places: set[Path] = set()

    def names(self) -> list[str]:
        return list(self._images)

    def place(self) -> Path:
        """A new folder for an upload; the oldest images go where there are too many. Raises Refusal."""
        if len(self._places) >= self._limits.queue:
            raise busy(self._limits.queue)
        for name in list(self._images)[: -self._limits.kept or None]:
            self._remove(name)
        place = self._folder / secrets.token_hex(16)
        place.mkdir()
        self._places.add(place)
        return place

    def give_up(self, place: Path) -> None:
        """Remove a folder whose upload failed."""
        self._places.discard(place)
        shutil.rmtree(place, ignore_errors=True)

    def add(self, name: str, file_name: str, path: Path) -> str:
        """Keep an image under a name, or under that of its file; returns the name. Raises Refusal."""
        name = name or stem(file_name) or secrets.token_hex(8)
        if len(name) > LONGEST_NAME or not name.isprintable():
            self.give_up(path.parent)
            raise Refusal(
                400, "InputError", f"an image's name has at most {LONGEST_NAME} printable characters"
            )
        self._places.discard(path.parent)
        self._remove(name)
        self._images[name] = Image(path, time.monotonic())
        return name

    def find(self, name: str) -> Path:
        """The image's file. Raises Refusal."""
        if name not in self._images:
            raise not_found("there is no image or session of that name; it may have been removed")
        return self._images[name].path

    def forget(self, name: str) -> None:
        """Remove an image. Raises Refusal where there is none."""
        self.find(name)
        self._remove(name)

    def sweep(self) -> None:
        """Remove what has been kept long enough."""
        now = time.monotonic()
        for name, image in list(self._images.items()):
            if now - image.since > self._limits.keep_seconds:
                self._remove(name)

    def _remove(self, name: str) -> None:
        image = self._images.pop(name, None)
        if image is not None:
            shutil.rmtree(image.path.parent, ignore_errors=True)

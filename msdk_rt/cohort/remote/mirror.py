"""A temporary folder that stands for places in object stores, so that a plan is made of paths alone."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from msdk_rt.cohort.remote.url import Url


@dataclass(frozen=True)
class Mirror:
    """root: the temporary folder. places: {name of a folder in it: the URL that it stands for}."""

    root: Path
    places: Mapping[str, str]

    def url(self, path: Path) -> Url:
        """The URL that a path stands for, "" for a path outside."""
        if not path.is_relative_to(self.root):
            return Url("")
        place, *below = path.relative_to(self.root).parts
        return Url("/".join([self.places[place], *below]))

    def told(self, text: str) -> str:
        """A sentence with URLs in place of paths."""
        for place, url in self.places.items():
            text = text.replace(f"{self.root / place}{os.sep}", f"{url}/")
        return text

    def at(self, root: Path) -> "Mirror":
        """The same places below another folder."""
        return replace(self, root=root)

    def moved(self, path: Path, root: Path) -> Path:
        """The path below another root; one outside is as it was."""
        return root / path.relative_to(self.root) if path.is_relative_to(self.root) else path

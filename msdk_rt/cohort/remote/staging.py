"""Brings the files of a case from its store to this machine, and its result back."""

import itertools
import os
import shutil
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msdk_rt.cohort.remote import store

if TYPE_CHECKING:
    from msdk_rt.cohort.cases import Case


class Staging:
    """A folder in which each case has one of its own, from the first byte read to the last one written."""

    def __init__(self, folder: Path):
        self._folder, self._numbers = folder, itertools.count()
        self._of_case: dict[str, Path] = {}
        self._lock = threading.Lock()

    def bring(self, case: "Case", probabilities: bool) -> "Case":
        """The case in a new folder, with its earlier result and record, if its store has them.

        probabilities: whether their maps are asked for; if not, an empty file tells that there are some.
        Raises InputError.
        """
        self.release(case)
        with self._lock:
            place = self._of_case[case.name] = self._folder / f"case-{next(self._numbers)}"
        here = moved(case, place)
        here.output.parent.mkdir(parents=True, exist_ok=True)
        wanted = [here.record, here.output, *([here.probabilities] if probabilities else [])]
        for path in wanted:
            if (url := _url(here, path)) and store.is_file(url):
                store.fetch(url, path)
        if not probabilities and (url := _url(here, here.probabilities)) and store.is_file(url):
            here.probabilities.touch()
        return here

    def deliver(self, case: "Case", record: dict[str, Any]) -> None:
        """Put a result into its store, as on a disk the record first, the labels last. Raises OutputError."""
        if not _url(case, case.output):
            return
        if not case.probabilities.exists() and case.probabilities.name not in record["files"]:
            self._remove_maps(case)
        properties = case.probabilities.with_suffix(".pkl")
        others = [*case.companions, case.picture, case.probabilities, properties]
        mine = [path for path in others if path and path.name in record["files"]]
        for path in (case.record, *mine, case.output):
            store.put(path, _url(case, path))

    def release(self, case: "Case") -> None:
        """Remove what was brought for a case and made of it."""
        with self._lock:
            place = self._of_case.pop(case.name, None)
        if place:
            shutil.rmtree(place, ignore_errors=True)

    def _remove_maps(self, case: "Case") -> None:
        """Remove maps of an earlier result, where writing the new one has removed their stand-in."""
        url = _url(case, case.probabilities)
        if store.is_file(url):
            store.remove(url)


def staging_for(cases: Sequence["Case"]) -> Staging | None:
    """A folder below the cases' mirror; None for cases whose files are all at paths."""
    mirror = next((case.mirror for case in cases if case.mirror), None)
    return Staging(mirror.root / f"cases-{os.getpid()}") if mirror else None


def fetch_inputs(case: "Case") -> bool:
    """Fetch those inputs of a case that are URLs; whether there are any. Raises InputError."""
    urls = {path: url for path in case.inputs if (url := _url(case, path))}
    for path, url in urls.items():
        store.fetch(url, path)
    return bool(urls)


def moved(case: "Case", root: Path) -> "Case":
    """The case with the folder that stands for its URLs at `root`."""
    mirror = case.mirror
    if mirror is None:
        return case

    def there(path: Path) -> Path:
        return mirror.moved(path, root)

    return replace(
        case,
        inputs=tuple(map(there, case.inputs)),
        output=there(case.output),
        probabilities=there(case.probabilities),
        record=there(case.record),
        picture=case.picture and there(case.picture),
        companions={there(path): text for path, text in case.companions.items()},
        mirror=mirror.at(root),
    )


def _url(case: "Case", path: Path) -> str:
    return case.mirror.url(path) if case.mirror else ""

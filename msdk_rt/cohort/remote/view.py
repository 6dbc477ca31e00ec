"""A command's URLs as paths: of inputs their names, of results what a report needs, in a temporary folder."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from msdk_rt.artifact.files import private_folder
from msdk_rt.cohort.cases import LeftOut
from msdk_rt.cohort.plan import Plan
from msdk_rt.cohort.remote import store
from msdk_rt.cohort.remote.mirror import Mirror
from msdk_rt.cohort.remote.url import WEB, Url
from msdk_rt.errors import InputError, MsdkError, OutputError
from msdk_rt.imaging.formats import is_image_name, is_result_name

Listing = Callable[[Url, Path, str], list[LeftOut]]
AT_ONCE = 8  # small files fetched together
START = 256  # bytes of a page or a table that tell who wrote it
LONG = ("qc.html", "volumes.tsv", "report.json")
SHORT = ("dataset.json", "plans.json", "dataset_description.json", "README.md", ".bidsignore")


@dataclass
class View:
    """inputs, output: as paths. mirror: None where nothing is a URL. left_out: what has no path."""

    inputs: list[Path]
    output: Path
    mirror: Mirror | None = None
    left_out: list[LeftOut] = field(default_factory=list)
    _brought: dict[Path, int] = field(default_factory=dict)

    def plan(self, make: Callable[[], Plan]) -> Plan:
        """The plan that `make` gives for the paths, its cases with their URLs. Raises what `make` raises."""
        mirror = self.mirror
        if mirror is None:
            return make()
        try:
            whole = make()
        except MsdkError as error:
            raise type(error)(mirror.told(str(error))) from error
        left_out = [
            replace(entry, reason=mirror.told(entry.reason), url=mirror.url(entry.path))
            for entry in (*whole.left_out, *self.left_out)
        ]
        return replace(
            whole,
            cases=tuple(replace(case, mirror=mirror) for case in whole.cases),
            left_out=tuple(sorted(left_out, key=lambda entry: entry.path)),
        )

    def url(self, path: Path) -> str:
        """What a path stands for, "" for one that stands for itself."""
        return self.mirror.url(path) if self.mirror else ""

    def address(self, path: Path) -> str:
        """A URL of `path` where a relative path from the output does not lead to it, else ""."""
        if self.mirror is None:
            return ""
        return self.url(path) or path.resolve().as_uri()

    def fetch_content(self) -> None:
        """Fetch a file that is the only input: its content tells the plan how many channels it has."""
        (path, *others) = self.inputs
        if not others and path.is_file() and (url := self.url(path)):
            store.fetch(url, path)

    def fetch_results(self, plan: Plan) -> None:
        """Bring what the page shows of all cases: pictures, and records of other parts. Raises InputError."""
        if plan.folder is None or not self.url(plan.folder):
            return
        there = set(store.files_below(self.url(plan.folder)))
        wanted = [case.picture for case in (*plan.cases, *plan.other_cases) if case.picture]
        for case in plan.other_cases:
            if str(case.output.relative_to(plan.folder)) in there:
                case.output.parent.mkdir(parents=True, exist_ok=True)
                case.output.touch()
                wanted.append(case.record)
        found = [path for path in wanted if path.relative_to(plan.folder).as_posix() in there]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(lambda path: store.fetch(self.url(path), path), found))

    def publish(self, plan: Plan) -> None:
        """Put the reports and descriptions of the results' folder into its store. Raises OutputError."""
        if plan.folder and self.url(plan.folder):
            for path in sorted(plan.folder.iterdir()):
                if path.is_file() and self._brought.get(path) != path.stat().st_mtime_ns:
                    store.put(path, self.url(path))

    def fetch_reports(self, names: Sequence[str]) -> None:
        """Bring reports of earlier runs and descriptions, of the long ones only how they begin."""
        for name in names:
            path, url = self.output / name, self.url(self.output / name)
            if name in LONG:
                store.fetch_start(url, path, START)
            elif name in SHORT or (name.startswith("report.") and name.endswith(".json")):
                store.fetch(url, path)
            else:
                continue
            self._brought[path] = path.stat().st_mtime_ns


@contextlib.contextmanager
def local_view(inputs: Sequence[Path | Url], output: Path | Url, listing: Listing) -> Iterator[View]:
    """The inputs and the output of a command as paths; the folder that stands for URLs is gone at the end.

    Files of URLs are empty there. listing: shows what a folder holds. Raises InputError, OutputError.
    """
    urls = [place for place in (*inputs, output) if isinstance(place, Url)]
    if not urls:
        yield View([Path(path) for path in inputs], Path(output))
        return
    if isinstance(output, Url) and output in inputs:
        raise OutputError(f"{output} is an input: give another output")
    with private_folder() as root:
        places = {str(number): url.parent for number, url in enumerate(urls)}
        paths = {url: root / str(number) / url.name for number, url in enumerate(urls)}
        for path in paths.values():
            path.parent.mkdir()
        given = [paths[place] if isinstance(place, Url) else place for place in inputs]
        target = paths[output] if isinstance(output, Url) else output
        view = View(given, target, Mirror(root, places))
        if isinstance(output, Url):
            _open_output(output, view)
        for place in inputs:
            if isinstance(place, Url):
                view.left_out += _show(place, paths[place], str(output), listing)
        yield view


def list_folder(url: Url, folder: Path, output: str) -> list[LeftOut]:
    """Show a folder's files as empty ones. Returns those that cannot be shown. Raises InputError."""
    left_out = []
    for name, is_folder in store.names_in(url).items():
        if not f"{output}/".startswith(f"{url}/{name}/"):
            left_out += stand_in(folder, name, is_folder)
    return left_out


def stand_in(folder: Path, name: str, is_folder: bool = False) -> list[LeftOut]:
    """Make an empty file or folder. Returns `folder` with a reason where it cannot have this name here."""
    path = folder / name
    try:
        if not path.resolve().is_relative_to(folder.resolve()) or path.name != name.rpartition("/")[2]:
            raise OSError("it lies elsewhere")
        (path if is_folder else path.parent).mkdir(parents=True, exist_ok=True)
        if not is_folder:
            path.touch()
    except (OSError, ValueError) as error:
        return [LeftOut(folder, f"holds {name!r}, a name that no file can have here ({error}): rename it")]
    return []


def _show(url: Url, path: Path, output: str, listing: Listing) -> list[LeftOut]:
    """Make `path` stand for an input."""
    if not is_image_name(path):
        if url.name.lower().endswith(".zip"):
            raise InputError(f"{url} is an archive: DICOM is read from paths, copy it first")
        path.mkdir()
        return listing(url, path, output)
    if store.is_file(url):
        path.touch()
    return []


def _open_output(output: Url, view: View) -> None:
    if output.scheme in WEB:
        raise OutputError(f"{output} can only be read: give a path, or a store that takes files")
    if is_result_name(view.output):
        store.check_writable(output.parent)
        return
    store.check_writable(output)
    view.output.mkdir()
    view.fetch_reports(
        [name for name, is_folder in store.names_in(output, missing_ok=True).items() if not is_folder]
    )

"""No space or no permission at any of an export's, a run's and a training's writes ends in one OutputError;
nothing half-written stays; and with space again the same command ends with the whole files.

Full: no file may grow beyond so many bytes (RLIMIT_FSIZE), at sizes below that of every file that is written.
Denied: the system refuses the n-th file opened for writing, folder made or file renamed, for every n.
Small disk: a tmpfs of ever more pages, where the system lets us mount one.
"""

import contextlib
import errno
import importlib
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from msdk_rt.artifact.files import LEFTOVERS
from tests.reliability.kills import MODULES, PATIENCE, Work, works
from tests.reliability.report import Row
from tests.reliability.sandbox import Sandbox

FOUND = [
    "A disk that filled up while a training saved its state ended it with PyTorch's RuntimeError.",
]
QUICK = ("run",)
DENIED_EVENTS = ("open", "os.mkdir", "os.rename")


def full(action: str, most_bytes: int, *arguments) -> None:
    """Do it while no file may grow beyond `most_bytes`."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))
    _call(action, *arguments)


def denied(action: str, nth: int, folder: str, *arguments) -> None:
    """Do it while the nth write inside `folder` is refused, as Python's audit events count them.

    Raises LookupError when there are not so many.
    """
    seen = 0

    def refuse(event: str, details: tuple) -> None:
        nonlocal seen
        if event not in DENIED_EVENTS or not str(details[0]).startswith(folder):
            return
        if event == "open" and not details[2] & (os.O_WRONLY | os.O_RDWR):
            return
        seen += 1
        if seen == nth:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), details[0])

    sys.addaudithook(refuse)
    _call(action, *arguments)
    if seen < nth:
        raise LookupError(f"only {seen} writes")


def _call(action: str, *arguments) -> None:
    module, function = action.split(":")
    getattr(importlib.import_module(module), function)(*arguments)


class Starving:
    """One command, starved again and again in `place` and compared with `whole`."""

    def __init__(self, name: str, work: Work, sandbox: Sandbox, place: Path):
        self.name, self.work, self.sandbox, self.place = name, work, sandbox, place
        self.whole = place / f"{name}-whole"
        self.whole.mkdir()
        assert self._run(work.action, *work.arguments, self.whole).result == "done"

    def full(self) -> Row:
        """A byte less than each file, and a half of it; then nothing at all."""
        sizes = {path.stat().st_size for path in self.whole.iterdir()}
        limits = sorted({0, 1, *(size - 1 for size in sizes), *(size // 2 for size in sizes)})
        out = self.place / "full"
        return self._row("full", [self._starve("full", (limit,), out) for limit in limits])

    def denied(self) -> Row:
        """The first write, the second, and so on until the command no longer comes to the nth."""
        broken: list[str] = []
        out = self.place / "denied"
        while not broken or broken[-1] != "ended":
            broken.append(self._starve("denied", (len(broken) + 1, out), out))
        return self._row("denied", broken[:-1])

    def small_disk(self) -> Row | None:
        """From one page to what the whole needs, in about 12 steps."""
        needed = sum(path.stat().st_size for path in self.whole.iterdir())
        out = self.place / "disk"
        broken = []
        for share in range(12):
            with _tmpfs(out, max(1, needed * share // 12 // 4096) * 4096) as mounted:
                if not mounted:
                    return None
                broken.append(self._starve("", (), out))
        return self._row("small disk", broken)

    def _starve(self, how: str, limits: tuple, out: Path) -> str:
        """The broken promise, "" for none, "coped" when the command was done all the same, "ended" when there
        was nothing more to deny.
        """
        out.mkdir(exist_ok=True)
        action = self.work.action
        if how:
            outcome = self._run(
                f"tests.reliability.starvation:{how}", action, *limits, *self.work.arguments, out
            )
        else:
            outcome = self._run(action, *self.work.arguments, out)
        left = [path.name for path in out.glob(LEFTOVERS)]
        half = self.work.half(out, self.whole)
        said = f"{outcome.result} {outcome.error}: {outcome.message[:200]}; left {left}, half {half}"
        if outcome.error == "LookupError":
            shutil.rmtree(out)
            return "ended"
        if how:
            resumed = self._run(action, *self.work.arguments, out)
            if resumed.result != "done" or self._differing(out):
                return f"not resumed: {resumed.message[:200]} {self._differing(out)}; {said}"
            shutil.rmtree(out)
        if outcome.result == "done" and not left and not half:
            return "coped"
        return "" if outcome.error == "OutputError" and not left and not half else said

    def _differing(self, out: Path) -> list[str]:
        same = self.work.same
        return [name for name in same if (out / name).read_bytes() != (self.whole / name).read_bytes()]

    def _run(self, action: str, *arguments):
        return self.sandbox.run(action, *arguments, seconds=PATIENCE)

    def _row(self, how: str, broken: list[str]) -> Row:
        failures = [sentence for sentence in broken if sentence not in ("", "coped")]
        for sentence in failures:
            print(f"  {self.name}, {how}: {sentence}", flush=True)
        return Row(
            f"{self.name}, {how}",
            len(broken),
            len(failures),
            f"{broken.count('')} OutputErrors, {broken.count('coped')} done all the same",
        )


@contextlib.contextmanager
def _tmpfs(folder: Path, size: int) -> Iterator[bool]:
    """A disk of `size` bytes at `folder`; False where we may not mount one."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)]
    mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", str(folder)], check=True)
        folder.rmdir()


def main(quick: bool) -> Iterator[Row]:
    with tempfile.TemporaryDirectory(prefix="msdk-starvation-") as place, Sandbox(MODULES) as sandbox:
        for name, work in works(Path(place)).items():
            if quick and name not in QUICK:
                continue
            starving = Starving(name, work, sandbox, Path(place))
            yield starving.full()
            yield starving.denied()
            if row := starving.small_disk():
                yield row

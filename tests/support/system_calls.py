"""What a command asks of the system, by strace: addresses it reaches for, files it writes."""

import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

# -y: paths of descriptors. Lookups that fail are kept: an attempt to reach a host counts.
STRACE = ("strace", "-f", "-y", "-qq", "-s", "4096", "--signal=none")
WATCHED = (
    "trace=%network,open,openat,openat2,creat,mkdir,mkdirat,rename,renameat,renameat2,link,linkat,symlink,"
    "symlinkat,unlink,unlinkat,truncate"
)
_REACHED = re.compile(r"\b(?:connect|sendto|sendmsg|sendmmsg)\(.*sa_family=AF_INET")
_CHANGE = re.compile(r"\b(?:creat|mkdir|mkdirat|rename\w*|link|linkat|symlink\w*|unlink\w*|truncate)\(")
_OPENED = re.compile(r"\bopen(?:at|at2)?\(.*(?:O_CREAT|O_WRONLY|O_RDWR|O_TMPFILE)")
_PATH = re.compile(r'(?:(?:AT_FDCWD|\d+)(?:<(?P<folder>[^>]*)>)?, )?"(?P<path>(?:[^"\\]|\\.)*)"')


@dataclass(frozen=True)
class SystemCalls:
    """exit_code, stderr: the command's. reached: calls towards an internet address, the resolver's too.
    written: paths that were created, opened to be written, renamed or removed.
    """

    exit_code: int
    stderr: str
    reached: list[str]
    written: set[Path]


def system_calls(
    command: Sequence[str | Path], trace: Path, environment: Mapping[str, str] | None = None
) -> SystemCalls:
    """Run a command under strace, whose output goes to the file `trace`. Skips the test without strace."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed: apt-get install strace")
    probe = subprocess.run([*STRACE, "-o", trace, "true"], capture_output=True, text=True, check=False)
    if probe.returncode != 0:
        pytest.skip(f"strace may trace no process here: {probe.stderr.strip()}")
    done = subprocess.run(
        [*STRACE, "-e", WATCHED, "-o", trace, *command],
        capture_output=True,
        text=True,
        check=False,
        env=dict(os.environ if environment is None else environment),
    )
    lines = trace.read_text(errors="replace").splitlines()
    reached = [line for line in lines if _REACHED.search(line)]
    written = {path for line in lines if not re.search(r"= -1 E\w+", line) for path in _written(line)}
    return SystemCalls(done.returncode, done.stderr, reached, written)


def _written(line: str) -> set[Path]:
    if not (_CHANGE.search(line) or _OPENED.search(line)):
        return set()
    return {
        Path(os.path.normpath(Path(found["folder"] or os.getcwd()) / found["path"]))
        for found in _PATH.finditer(line)
    }

"""An index of packages on this machine, to which a release is uploaded as it would be to PyPI."""

import contextlib
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.release.wheels import TOOLS, run

SECONDS = 30  # that the server may take to answer


@contextlib.contextmanager
def released_to_an_index(folder: Path, files: Sequence[Path]) -> Iterator[str]:
    """The URL of an index (PEP 503) after the upload of `files`. Raises CalledProcessError, TimeoutError."""
    folder.mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    root = f"http://127.0.0.1:{port}"
    # "." and ".": whoever reaches this port may upload
    options = ["--interface", "127.0.0.1", "--port", str(port), "--passwords", ".", "--authenticate", "."]
    options += ["--disable-fallback", "--log-file", str(folder.with_suffix(".log"))]
    server = subprocess.Popen(
        [TOOLS / "pypi-server", "run", *options, folder], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_for(f"{root}/simple/", server)
        who = ["--username", "nobody", "--password", "none", "--trusted-publishing", "never"]
        run(TOOLS / "uv", "publish", "--publish-url", f"{root}/", *who, *files)
        yield f"{root}/simple"
    finally:
        server.terminate()
        server.wait()


def wait_for(url: str, server: subprocess.Popen[bytes]) -> None:
    """Return when the server answers. Raises TimeoutError."""
    for _ in range(SECONDS * 10):
        with contextlib.suppress(OSError), urllib.request.urlopen(url):
            return
        if server.poll() is not None:
            raise TimeoutError(f"the index ended with {server.returncode}")
        time.sleep(0.1)
    raise TimeoutError(f"the index did not answer within {SECONDS} s")

"""`msdk-rt serve` as a process of its own, and a client that shares no code with it."""

import contextlib
import http.client
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlparse

import psutil

TOKEN = "the-token-of-the-tests-0123456789"
PATIENCE = 60.0


@dataclass
class Served:
    """A running server. port: of 127.0.0.1. spool: its folder. process: its own, not the worker's."""

    port: int
    spool: Path
    process: subprocess.Popen
    stderr: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def worker(self) -> psutil.Process:
        (child,) = psutil.Process(self.process.pid).children()
        return child

    def ask(self, method: str, path: str, body=None, headers=None, token: str = TOKEN) -> "Answer":
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        sent = {"Authorization": f"Bearer {token}"} if token else {}
        with contextlib.closing(connection):
            connection.request(method, path, body, sent | (headers or {}))
            answer = connection.getresponse()
            return Answer(answer.status, dict(answer.getheaders()), answer.read())

    def send(self, path: str, *files, token: str = TOKEN, **fields: str) -> "Answer":
        """POST files, each a Path or (name, bytes), as parts `file`."""
        body, kind = form(*files, **fields)
        return self.ask("POST", path, body, {"Content-Type": kind}, token)

    def wait_for(self, job: str, *states: str) -> dict:
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            entries = self.ask("GET", f"/jobs/{job}").json()
            if entries["state"] in states:
                return entries
            time.sleep(0.05)
        raise AssertionError(f"still {entries}")

    def figures(self) -> dict[str, float]:
        """The metrics by name and labels."""
        lines = self.ask("GET", "/metrics").content.decode().splitlines()
        return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if line[0] != "#"}

    def left(self, seconds: float = 5.0) -> list[str]:
        """Files of jobs and images in the spool, where some are there after so many seconds."""
        end = time.monotonic() + seconds
        while files := self._files():
            if time.monotonic() > end:
                break
            time.sleep(0.02)
        return files

    def _files(self) -> list[str]:
        """In the spool now; a folder that the server removes meanwhile has none."""
        return sorted(os.path.join(place, name) for place, _, names in os.walk(self.spool) for name in names)


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    content: bytes

    def json(self) -> dict:
        return json.loads(self.content)

    def kind(self) -> tuple[int, str]:
        """(status, kind) of a refusal, whose message is a sentence."""
        error = self.json()["error"]
        assert set(error) == {"kind", "message"}
        assert len(error["message"]) > 20
        return self.status, error["kind"]


def form(*files, **fields: str) -> tuple[bytes, str]:
    """multipart/form-data and its media type."""
    boundary = secrets.token_hex(8)
    pieces = []
    for name, text in fields.items():
        pieces.append(
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n'.encode()
        )
    for file in files:
        name, content = (file.name, file.read_bytes()) if isinstance(file, Path) else file
        pieces.append(
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'.encode()
        )
        pieces.append(content + b"\r\n")
    return b"".join([*pieces, f"--{boundary}--\r\n".encode()]), f"multipart/form-data; boundary={boundary}"


@contextlib.contextmanager
def served(folder: Path, *arguments, **environment: str) -> Iterator[Served]:
    """`msdk-rt serve ARGUMENTS` on a free port, its spool and stderr in `folder`; ended with SIGTERM."""
    folder.mkdir(exist_ok=True)
    spool, stderr = folder / "spool", folder / "stderr"
    command = [sys.executable, "-c", "import sys; from msdk_rt.commands.main import main; sys.exit(main())"]
    command += ["serve", *map(str, arguments), "--port", "0", "--spool", str(spool)]
    with stderr.open("a") as told:
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=told,
            text=True,
            env=os.environ | {"MSDK_RT_TOKEN": TOKEN} | environment,
        )
    try:
        address = process.stdout.readline()
        assert address.startswith("http"), stderr.read_text()
        yield Served(urlparse(address.split("#")[0].strip()).port, spool, process, stderr)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(PATIENCE)
        finally:
            process.kill()
            process.stdout.close()

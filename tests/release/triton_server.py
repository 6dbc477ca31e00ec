"""NVIDIA's Triton Inference Server with its Python backend, from the wheel nvidia-pytriton."""

import contextlib
import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PATIENCE = 90.0


@contextlib.contextmanager
def triton_server(environment: Path, repository: Path, folder: Path, *models: str) -> Iterator[int]:
    """A server of these models of the repository; its HTTP port.

    environment: a virtual environment with nvidia-pytriton, whose Python runs the models. folder: for what
    the server writes.
    """
    (package,) = environment.glob("lib/python3*/site-packages/pytriton")
    place = package / "tritonserver"
    backends = folder / "backends"
    shutil.copytree(place / "backends", backends)
    version = package.parents[1].name.removeprefix("python")
    shutil.copy(place / "python_backend_stubs" / version / "triton_python_backend_stub", backends / "python")
    libraries = [package.parent / "nvidia_pytriton.libs", Path(sys.base_prefix) / "lib"]
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [
        *(str(place / "bin" / "tritonserver"), f"--model-repository={repository}"),
        *(f"--backend-directory={backends}", "--http-address=127.0.0.1", f"--http-port={port}"),
        *("--allow-grpc=false", "--allow-metrics=false", "--model-control-mode=explicit"),
        *(f"--load-model={model}" for model in models),
    ]
    binaries = [str(environment / "bin"), os.environ.get("PATH", "")]
    variables = os.environ | {
        "LD_LIBRARY_PATH": os.pathsep.join(map(str, libraries)),
        "PATH": os.pathsep.join(binaries),  # the backend's Python is that of the first `python3`
    }
    log = folder / "triton.log"
    with log.open("w") as told:
        process = subprocess.Popen(command, stdout=told, stderr=told, env=variables)
    try:
        end = time.monotonic() + PATIENCE
        while ask(port, "GET", "/v2/health/ready")[0] != 200:
            assert process.poll() is None, log.read_text()[-3000:]
            assert time.monotonic() < end, log.read_text()[-3000:]
            time.sleep(0.2)
        yield port
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(40)  # it waits for connections that are kept open
        process.kill()
        process.wait()


def ask(port: int, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    """(status, answer) of a request in JSON; (0, None) where nobody listens yet."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    with contextlib.closing(connection):
        try:
            headers = {"Connection": "close"}
            connection.request(method, path, None if body is None else json.dumps(body), headers)
        except ConnectionRefusedError:
            return 0, None
        answer = connection.getresponse()
        text = answer.read()
        return answer.status, json.loads(text) if text else None

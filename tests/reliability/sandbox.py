"""Runs an action in a separate process, under limits, and reports how it ended.

A server that has imported what the actions need forks one child for each of them, so a start costs
milliseconds and a crash of one is a line in the report of all.
"""

import importlib
import json
import os
import resource
import select
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 120.0  # until it counts as hung, on a machine that may be busy
ADDRESS_SPACE = 4 << 30  # bytes beyond those of the server
MIB = 1024.0  # of kB


@dataclass(frozen=True)
class Outcome:
    """How an action ended: result "done", "refused" (an MsdkError), "crashed" (a signal), "hung", or "leaked"
    (an exception of another kind).

    error: its class. message: str() of it, or the signal's name. seconds: processor time of the action.
    extra_mb: peak resident memory beyond the server's. modules: imported by the action.
    """

    result: str
    error: str = ""
    message: str = ""
    seconds: float = 0.0
    extra_mb: float = 0.0
    modules: list[str] = field(default_factory=list)


class Sandbox:
    """A server with `modules` imported. Actions are named "module:function" and take plain values."""

    def __init__(self, modules: Sequence[str]):
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.reliability.sandbox", *modules],
            env=environment,
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> "Sandbox":
        return self

    def __exit__(self, *_) -> None:
        self._server.stdin.close()
        self._server.wait()

    def run(self, action: str, *arguments, seconds: float = SECONDS) -> Outcome:
        job = {"action": action, "arguments": [*map(_plain, arguments)], "seconds": seconds}
        self._server.stdin.write(json.dumps(job) + "\n")
        self._server.stdin.flush()
        return Outcome(**json.loads(self._server.stdout.readline()))


def _plain(value):
    return str(value) if isinstance(value, Path) else value


def serve(modules: Sequence[str]) -> None:
    """Answer each line of stdin, a job, with a line on stdout, its outcome."""
    for module in modules:
        importlib.import_module(module)
    for line in sys.stdin:
        print(json.dumps(_supervise(json.loads(line))), flush=True)


def _supervise(job: dict) -> dict:
    readable, writable = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(readable)
        _act(job, writable)
    os.close(writable)
    deadline = time.monotonic() + job["seconds"]
    answer = b""
    while select.select([readable], [], [], max(0.0, deadline - time.monotonic()))[0]:
        block = os.read(readable, 1 << 16)
        if not block:
            break
        answer += block
    else:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(readable)
        return {"result": "hung", "message": f"killed after {job['seconds']} s", "seconds": job["seconds"]}
    os.close(readable)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return {"result": "crashed", "message": signal.Signals(os.WTERMSIG(status)).name}
    return json.loads(answer)


def _act(job: dict, writable: int) -> None:
    """In the child: do it, write the outcome, end without any handler of the server's."""
    _silence()
    before, size = _status("VmRSS"), _status("VmSize")
    limit = int(size * 1024) + ADDRESS_SPACE
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    known = set(sys.modules)
    module, function = job["action"].split(":")
    run = getattr(importlib.import_module(module), function)
    outcome: dict = {"result": "done"}
    started = time.process_time()
    try:
        run(*job["arguments"])
    except BaseException as error:
        outcome = {"result": _judge(error), "error": type(error).__name__, "message": str(error)}
    outcome["seconds"] = time.process_time() - started
    outcome["extra_mb"] = max(0.0, _status("VmHWM") - before) / MIB
    outcome["modules"] = sorted(name for name in sys.modules.keys() - known if "." not in name)
    with open(writable, "w") as pipe:
        pipe.write(json.dumps(outcome))
    os._exit(0)


def _judge(error: BaseException) -> str:
    from msdk_rt.errors import MsdkError

    return "refused" if isinstance(error, MsdkError) else "leaked"


def _silence() -> None:
    """Libraries print what they please."""
    warnings.simplefilter("ignore")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)


def _status(name: str) -> float:
    """kB of a line of /proc/self/status."""
    with open("/proc/self/status") as file:
        return next(float(line.split()[1]) for line in file if line.startswith(name + ":"))


if __name__ == "__main__":
    serve(sys.argv[1:])

"""A Ray cluster of two nodes with one processor each, and the command line as its driver."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[4]
MAIN = "from msdk_rt.commands.main import main; raise SystemExit(main())"
# Read by every Python of the cluster's nodes: whoever opens this file dies, as of a crash in a library.
POISON = "poison.nii.gz"
KILLED_BY_POISON = f"""
import os, signal, sys

def die(event, arguments):
    if event == "open" and str(arguments[0]).endswith({POISON!r}):
        os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(die)
"""


class Machines:
    """The cluster, and commands that use it."""

    def __init__(self, cluster, hooks):
        self.cluster, self._hooks = cluster, hooks
        self.nodes = [cluster.add_node(**NODE, num_cpus=1) for _ in range(2)]

    def start(self, *arguments, command="run"):
        """A driver in its own process."""
        given = [command, "--cluster", self.cluster.address, "--threads", "1", *arguments]
        return subprocess.Popen(
            [sys.executable, "-c", MAIN, *map(str, given)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
        )

    def run(self, *arguments, command="run"):
        """(exit code, what is on stdout, what is on stderr)."""
        driver = self.start(*arguments, command=command)
        out, err = driver.communicate(timeout=120)
        return driver.returncode, out, err

    def workers(self):
        """Process ids of this cluster's workers, which Ray names after their class."""
        pids = map(int, filter(str.isdecimal, os.listdir("/proc")))
        return [pid for pid in pids if is_worker(pid, self._hooks)]

    def workers_of(self, node):
        """Process ids of the workers of one node, which are children of its raylet."""
        (raylet,) = (started.process.pid for started in node.all_processes["raylet"])
        return [pid for pid in self.workers() if parent_of(pid) == raylet]


NODE = {"include_dashboard": False, "object_store_memory": 80 << 20}


def is_worker(pid, hooks):
    try:
        named = Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"ray::Worker")
        return named and os.fsencode(hooks) in Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:  # it has ended
        return False


def parent_of(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def environment():
    """Of the driver, which opens every file."""
    return os.environ | {"PYTHONPATH": str(ROOT)}


def wait_until(holds, seconds=60.0):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def kill(pid):
    os.kill(pid, signal.SIGKILL)


@pytest.fixture(scope="package")
def machines(tmp_path_factory):
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    hooks = tmp_path_factory.mktemp("hooks")
    (hooks / "sitecustomize.py").write_text(KILLED_BY_POISON)
    given = {name: os.environ.get(name) for name in ("PYTHONPATH", "RAY_USAGE_STATS_ENABLED")}
    os.environ.update(PYTHONPATH=f"{hooks}{os.pathsep}{ROOT}", RAY_USAGE_STATS_ENABLED="0")
    cluster = Cluster(initialize_head=True, head_node_args=NODE | {"num_cpus": 0})
    try:
        yield Machines(cluster, hooks)
    finally:
        cluster.shutdown()
        for name, value in given.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})

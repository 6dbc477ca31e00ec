"""A Ray cluster of nodes with one processor each on this machine, and the command line as its driver."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MAIN = "from msdk_rt.commands.main import main; raise SystemExit(main())"
# Read by every Python of the nodes: whoever opens this file dies, as of a crash in a library.
POISON = "poison.nii.gz"
KILLED_BY_POISON = f"""
import os, signal, sys

def die(event, arguments):
    if event == "open" and str(arguments[0]).endswith({POISON!r}):
        os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(die)
"""
# With reports off, a head still sends one that says so.
WITHOUT_REPORTS = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_USAGE_STATS_REPORT_URL": "http://127.0.0.1:9"}
NODE = {"include_dashboard": False, "object_store_memory": 80 << 20}
PATIENCE = 240  # seconds


class Machines:
    """The cluster, and commands that use it. hooks: a folder in the environment of all its processes."""

    def __init__(self, cluster, hooks):
        self.cluster, self._hooks, self.nodes = cluster, hooks, []

    @property
    def address(self):
        return self.cluster.address

    def add(self):
        self.nodes.append(self.cluster.add_node(**NODE, num_cpus=1))
        return self.nodes[-1]

    def remove(self, node):
        """As of a power cut."""
        self.nodes.remove(node)
        self.cluster.remove_node(node, allow_graceful=False)

    def command(self, *arguments, command="run"):
        """`msdk-rt run ...` on the cluster, in this checkout."""
        return [
            *(sys.executable, "-c", MAIN, command, "--cluster", self.address, "--threads", "1"),
            *map(str, arguments),
        ]

    def start(self, *arguments, command="run", told=subprocess.PIPE):
        """A driver in its own process. told: where its stderr goes."""
        given = self.command(*arguments, command=command)
        return subprocess.Popen(given, stdout=subprocess.PIPE, stderr=told, text=True, env=environment())

    def run(self, *arguments, command="run"):
        """(exit code, what is on stdout, what is on stderr)."""
        driver = self.start(*arguments, command=command)
        out, err = driver.communicate(timeout=PATIENCE)
        return driver.returncode, out, err

    def workers(self):
        """Process ids of this cluster's workers, which Ray names after their class."""
        pids = map(int, filter(str.isdecimal, os.listdir("/proc")))
        return [pid for pid in pids if _is_worker(pid, self._hooks)]

    def workers_of(self, node):
        """Process ids of the workers of one node, which are children of its raylet."""
        (raylet,) = (started.process.pid for started in node.all_processes["raylet"])
        return [pid for pid in self.workers() if _parent_of(pid) == raylet]


@contextlib.contextmanager
def ray_cluster(hooks, of_head=0):
    """A cluster of one node, the head, which offers `of_head` processors. hooks: an empty folder."""
    from ray.cluster_utils import Cluster

    (hooks / "sitecustomize.py").write_text(KILLED_BY_POISON)
    of_nodes = {"PYTHONPATH": f"{hooks}{os.pathsep}{ROOT}", **WITHOUT_REPORTS}
    given = {name: os.environ.get(name) for name in of_nodes}
    os.environ.update(of_nodes)
    cluster = Cluster(initialize_head=True, head_node_args=NODE | {"num_cpus": of_head})
    try:
        yield Machines(cluster, hooks)
    finally:
        cluster.shutdown()
        for name, value in given.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def environment():
    """Of the driver, which opens every file."""
    return os.environ | {"PYTHONPATH": str(ROOT)}


def wait_until(holds, seconds=PATIENCE):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def kill(pid):
    os.kill(pid, signal.SIGKILL)


@contextlib.contextmanager
def stopped(pid):
    """The process does nothing in the block, so that it is in the middle of whatever it does."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def _is_worker(pid, hooks):
    try:
        named = Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"ray::Worker")
        return named and os.fsencode(hooks) in Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:  # it has ended
        return False


def _parent_of(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])

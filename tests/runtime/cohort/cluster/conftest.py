"""The cluster that the tests of this folder share, and a node that sees other files than the rest."""

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from tests.runtime.cohort.test_bids import dataset, model  # noqa: F401, fixtures
from tests.support.object_store import object_store
from tests.support.ray_cluster import environment, ray_cluster, wait_until

BLIND = 'for folder in {folders}; do mount -t tmpfs none "$folder"; done; exec "$0" -c "$1" {options}'
START = "from ray.scripts.scripts import main; main()"


@pytest.fixture(scope="package")
def store():
    """An S3 store in the environment of the nodes, which start after it."""
    with object_store() as opened:
        yield opened


@pytest.fixture(scope="package")
def machines(tmp_path_factory, store):
    pytest.importorskip("ray")
    with ray_cluster(tmp_path_factory.mktemp("hooks"), of_head=1) as cluster:
        cluster.add()
        yield cluster


@pytest.fixture
def blind(machines, tmp_path):
    """A third node with two processors, to which the folders `scans` and `out` are empty."""
    folders = SimpleNamespace(scans=tmp_path / "blind" / "scans", out=tmp_path / "blind" / "out")
    for folder in vars(folders).values():
        folder.mkdir(parents=True)
    own_mounts = ["unshare", "--mount", "--map-root-user"]
    if subprocess.run([*own_mounts, "mount", "-t", "tmpfs", "none", "/mnt"], check=False).returncode:
        pytest.skip("no process may have its own mounts here")
    script = BLIND.format(
        folders=" ".join(map(str, vars(folders).values())),
        options=f"start --address {machines.address} --num-cpus 2 --object-store-memory {80 << 20} --block",
    )
    node = subprocess.Popen(
        [*own_mounts, "sh", "-c", script, sys.executable, START],
        env=environment() | {"PYTHONPATH": os.environ["PYTHONPATH"]},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_until(lambda: nodes_alive(machines) == len(machines.nodes) + 2)  # the head is one too
    yield folders
    node.terminate()
    node.wait(60)
    wait_until(lambda: nodes_alive(machines) == len(machines.nodes) + 1)


def nodes_alive(machines):
    code = f"import ray; ray.init({machines.address!r}, log_to_driver=False, logging_level=50); "
    code += "print(sum(node['Alive'] for node in ray.nodes()))"
    told = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    return int(told.stdout.split()[-1])

"""The cluster's address, and how many workers a node has room for."""

import socket
import sys

import pytest

from msdk_rt.cohort.cluster.nodes import Node, Room, join, needs_gpu, room_on
from msdk_rt.errors import BackendError
from tests.runtime.cohort.folders import run, write_scan

CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"


def node(processors, gpus=0):
    return Node("1", "a", processors, gpus)


@pytest.mark.parametrize(
    ("offered", "threads", "gpu", "room"),
    [
        (node(16), None, None, Room(1, 16, 0)),
        (node(16), 4, None, Room(4, 4, 0)),
        (node(16), 5, False, Room(3, 5, 0)),
        (node(3), 4, None, Room(0, 4, 0)),
        (node(0), None, None, Room(0, 1, 0)),
        (node(64, 8), None, None, Room(8, 8, 1)),
        (node(64, 8), 2, True, Room(8, 2, 1)),
        (node(64, 8), 16, True, Room(8, 8, 1)),
        (node(4, 8), None, True, Room(8, 0, 1)),
        (node(64, 8), 16, False, Room(4, 16, 0)),
        (node(64), 16, True, Room(0, 16, 1)),
    ],
)
def test_room(offered, threads, gpu, room):
    assert room_on(offered, threads, gpu) == room


@pytest.mark.parametrize(
    ("providers", "engine", "needed"),
    [(None, False, None), (None, True, True), ((CPU,), False, False), ((CUDA, CPU), False, True)],
)
def test_who_needs_a_gpu(providers, engine, needed):
    assert needs_gpu(providers, engine) is needed


@pytest.mark.parametrize("address", ["", "nonsense", "ray://host:1", "host:", ":6379", "local", "a/b:1"])
def test_addresses_that_are_none(address):
    pytest.importorskip("ray")
    with pytest.raises(BackendError, match="expected auto or HOST:PORT"):
        join(address)


def test_nobody_at_the_address_is_told_at_once():
    pytest.importorskip("ray")
    with socket.socket() as taken:  # bound, and nobody listens
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(BackendError, match=f"found no Ray cluster at {address} .*refused"):
            join(address)


def test_without_ray_the_extra_is_named(artifact, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    scan = write_scan(tmp_path / "scan.nii.gz")
    assert run(artifact, scan, "-o", tmp_path / "out", "--cluster", "auto") == 1
    told = capsys.readouterr().err
    assert "--cluster needs Ray, and ray is not installed: pip install 'msdk_rt[cluster]'" in told
    assert told.count("\n") == 1

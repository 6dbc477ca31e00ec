"""A Ray cluster: how it is joined, its nodes, and how many workers each has room for."""

import contextlib
import logging
import os
import signal
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from msdk_rt.errors import BackendError, one_line

CONNECT_WITHIN = 10.0  # seconds
ON_GPU = ("CUDAExecutionProvider", "TensorrtExecutionProvider")


@dataclass(frozen=True)
class Node:
    """A machine of the cluster. processors, gpus: those that it offers to Ray."""

    id: str
    name: str
    processors: int
    gpus: int


@dataclass(frozen=True)
class Room:
    """How many workers a node has room for, and what each of them gets."""

    workers: int
    processors: int
    gpus: int


def join(address: str) -> Any:
    """The module ray, connected to the cluster at "auto" or HOST:PORT. Raises BackendError.

    Ray's reports about its use are switched off in this process, as is its printing of the workers' output.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ModuleNotFoundError as error:
        raise BackendError(
            f"--cluster needs Ray, and {error.name} is not installed: pip install 'msdk_rt[cluster]' "
            "on every node"
        ) from error
    host, _, port = address.rpartition(":")
    if address != "auto" and not (host and port.isdecimal() and "/" not in host):
        raise BackendError(
            f"expected auto or HOST:PORT as the cluster's address, got {address}: run msdk-rt on a node"
        )
    try:
        if host:  # Ray itself waits for minutes
            socket.create_connection((host.strip("[]"), int(port)), CONNECT_WITHIN).close()
        with _own_sigterm():
            ray.init(address=address, log_to_driver=False, logging_level=logging.CRITICAL)
    except (RuntimeError, ValueError, OverflowError, OSError) as error:
        raise BackendError(
            f"found no Ray cluster at {address} ({one_line(error)}): start one with `ray start --head "
            "--disable-usage-stats`, and run msdk-rt on one of its nodes"
        ) from error
    return ray


def nodes_of(ray: Any) -> dict[str, Node]:
    """The nodes that are alive, by id."""
    return {
        node["NodeID"]: Node(
            node["NodeID"],
            f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})",
            int(node["Resources"].get("CPU", 0)),
            int(node["Resources"].get("GPU", 0)),
        )
        for node in ray.nodes()
        if node["Alive"]
    }


def needs_gpu(providers: tuple[str, ...] | None, engine: bool) -> bool | None:
    """Whether each worker needs a GPU; None where a node's GPUs are used if it has any."""
    if engine:
        return True
    return None if providers is None else any(name in ON_GPU for name in providers)


def room_on(node: Node, threads: int | None, gpu: bool | None) -> Room:
    """A GPU for each worker, with its part of the processors; or `threads` processors for each, by default
    all of the node's for one worker.
    """
    if gpu or (gpu is None and node.gpus):
        return Room(node.gpus, min(threads or node.processors, node.processors // max(1, node.gpus)), 1)
    each = threads or max(1, node.processors)
    return Room(node.processors // each, each, 0)


@contextlib.contextmanager
def _own_sigterm() -> Iterator[None]:
    """ray.init takes SIGTERM for itself; afterwards it is as it was."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):  # not the main thread, in which Ray took nothing
            signal.signal(signal.SIGTERM, before)

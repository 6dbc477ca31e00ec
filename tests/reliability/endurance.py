"""Nothing grows in a process that runs for months: memory, descriptors and threads after ever new shapes of
the ops, after many windows, and after Segmenters that were opened and closed.
"""

import gc
import itertools
import tempfile
from collections.abc import Callable
from pathlib import Path

import psutil

import msdk_rt
from tests.reliability.concurrency import export, random_volume
from tests.reliability.report import Row
from tests.support.cases import ConvCase, KanCase, ScanCase
from tests.support.nodes import node_model, session

FOUND = ()
MIB = 2**20


def main(quick: bool = False) -> list[Row]:
    """The full run allows a growth of 1 MiB; the quick one, too short to be settled, of 8."""
    most = (8 if quick else 1) * MIB
    with tempfile.TemporaryDirectory() as folder:
        model = export(Path(folder) / "model.onnx")
        return [
            steady("runs of an op, shapes alternating", op_runs(), 300 if quick else 30_000, most),
            steady("windows", window_runs(model), 60 if quick else 2_000, most),
            steady("Segmenters opened and closed", lambda: open_and_close(model), 10 if quick else 200, most),
        ]


def op_runs() -> Callable[[], object]:
    """Each call runs one op on the next of nine shapes, in a session for any shape."""
    directions = "forward,backward"
    lengths = (7, 640, 131)
    scans = [ScanCase(1, 2, 5, length, 8, 2, directions, True, 1.0, length, False) for length in lengths]
    convs = [ConvCase(1, 2, 5, length, 4, directions, length) for length in lengths]
    kans = [KanCase(1, 5, 7, length, 8, -1.0, 1.0, length) for length in lengths]
    runs = []
    for op, cases, attributes in (
        ("BidirectionalSelectiveScan", scans, {"directions": directions}),
        ("DirectionalConv1d", convs, {"directions": directions}),
        ("KanLinear", kans, {}),
    ):
        inputs = [case.inputs() for case in cases]
        model = node_model(op, inputs[0], **attributes)
        for value in model.graph.input:
            for axis in value.type.tensor_type.shape.dim:
                axis.ClearField("dim_value")
        node = session(model, threads=2)
        runs += [(node, feeds) for feeds in inputs]
    order = itertools.cycle(runs)

    def run() -> None:
        node, feeds = next(order)
        node.run(None, feeds)

    return run


def window_runs(model: Path) -> Callable[[], object]:
    """Each call runs one window, of a volume of at most that size."""
    segmenter = msdk_rt.Segmenter(model, threads=2)
    volumes = itertools.cycle([random_volume(seed)[:, :16, :12, :8] for seed in range(7)])
    return lambda: segmenter.run(next(volumes))


def open_and_close(model: Path) -> None:
    with msdk_rt.Segmenter(model, threads=2) as segmenter:
        segmenter.run(random_volume(1))


def steady(what: str, run: Callable[[], object], times: int, most: int) -> Row:
    """Fails if memory grows by more than `most` bytes after a first fifth, or anything else is left over."""
    for _ in range(max(times // 5, 20)):
        run()
    before = held()
    for _ in range(times):
        run()
    grown, descriptors, threads = (after - first for after, first in zip(held(), before, strict=True))
    return Row(
        what,
        times,
        int(grown > most) + int(descriptors > 0) + int(threads > 0),
        f"memory grew by {grown / MIB:+.2f} MiB, descriptors by {descriptors}, threads by {threads}",
    )


def held() -> tuple[int, int, int]:
    """(resident memory in bytes, open descriptors, threads) of this process."""
    gc.collect()
    process = psutil.Process()
    return process.memory_info().rss, process.num_fds(), process.num_threads()

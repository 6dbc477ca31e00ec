"""A simulation: what do 10,000 cases on 50 nodes cost?

Measured here: the processor time of reading, inference and writing of the demo network on a 1 mm head, one
thread. Assumed, and to be changed by options: nodes, workers with one processor each on a node, how much the
cases differ in size, how often a node is lost and for how long. The cases go to the workers by the rules of
`--cluster` itself (msdk_rt.cohort.cluster.dispatch); beside it stands `--part` with a job for each worker.
Left out: the file system that all share, the driver's own time, the start of the jobs.
"""

import argparse
import heapq
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import nibabel
import numpy as np

from benchmarks.measure import record
from msdk_export.demo_network import export_demo
from msdk_export.synthetic.template import load_template
from msdk_rt.cohort.cluster.dispatch import Dispatch
from msdk_rt.cohort.opening import Opening
from msdk_rt.cohort.plan import plan
from msdk_rt.cohort.run import Outcome, Work
from msdk_rt.cohort.warned import Collected

T = TypeVar("T")
Member = tuple[int, int, int]  # node, which of its lives, worker
RUNS = 3
START = 5.0  # seconds until a worker has its network open


@dataclass(frozen=True)
class Spent:
    """hours: until the last case is done. idle: part of the workers' time without a case. again: cases that
    ran more than once. given_up: cases without a result.
    """

    hours: float
    idle: float
    again: int = 0
    given_up: int = 0


def main() -> None:
    """Measure, simulate, print and keep."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--nodes", type=int, default=50)
    parser.add_argument("--workers", type=int, default=8, help="on each node (default: 8)")
    parser.add_argument("--spread", type=float, default=0.35, help="of the logarithm of a case's time")
    parser.add_argument("--lost-every", type=float, default=1.0, metavar="HOURS", help="of a node's life")
    parser.add_argument("--lost-for", type=float, default=0.05, metavar="HOURS")
    options = parser.parse_args()
    stages = stage_seconds()
    mean = sum(stages.values())
    rng = np.random.default_rng(0)
    seconds = mean * rng.lognormal(-(options.spread**2) / 2, options.spread, options.cases)
    workers = options.nodes * options.workers
    results = {
        "--part, a job per worker": by_parts(seconds, workers),
        "--cluster": on_cluster(seconds, options.nodes, options.workers),
        f"--cluster, each node lost every {options.lost_every:g} h for {options.lost_for:g} h": on_cluster(
            seconds, options.nodes, options.workers, options.lost_every * 3600, options.lost_for * 3600
        ),
    }
    print("measured, seconds of one processor: " + ", ".join(f"{k} {v:.2f}" for k, v in stages.items()))
    print(f"simulated: {options.cases} cases on {options.nodes} nodes with {options.workers} workers each, "
          f"{seconds.sum() / 3600:.1f} hours of one processor")  # fmt: skip
    case = f"{options.cases} cases, {options.nodes} nodes x {options.workers}, simulated"
    record("cohort_cost", "demo network, 1 mm head, one thread", stages, "s")
    for name, spent in results.items():
        print(f"  {name}: {spent.hours:.2f} h, {spent.hours * options.nodes:.1f} node hours, idle "
              f"{spent.idle:.1%}, {spent.again} cases ran again, {spent.given_up} given up")  # fmt: skip
        record("cohort_cost", f"{case}, {name}", {"time": spent.hours}, "h")


def stage_seconds() -> dict[str, float]:
    """Processor seconds of each stage of a case, the median of some runs."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        manifest = export_demo(folder / "model.onnx")
        image = load_template().t1.numpy()
        voxels = (image / image.max() * 1000).astype(np.int16)
        nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), folder / "head.nii.gz")
        (case,) = plan([folder / "head.nii.gz"], manifest.channels, folder / "out").cases
        opening = Opening(folder / "model.onnx", threads=1)
        with opening.open() as segmenter:
            request = opening.request(manifest, overwrite=True)
            work = Work(segmenter, request, lambda line: None, False, Collected())
            runs = []
            for _ in range(RUNS):
                read, reading = _processor(lambda: work.read(case))
                done, network = _processor(lambda read=read: work.infer(read))
                if isinstance(done, Outcome):
                    raise RuntimeError(done.error)
                _, writing = _processor(lambda done=done: work.write(done))
                runs.append((reading, network, writing))
    medians = np.median(runs, axis=0)
    return dict(zip(("read", "network", "write"), map(float, medians), strict=True))


def by_parts(seconds: np.ndarray, jobs: int) -> Spent:
    """Every n-th case in each of n jobs."""
    lengths = [START + seconds[first::jobs].sum() for first in range(jobs)]
    return _spent(max(lengths), seconds.sum(), jobs)


def on_cluster(
    seconds: np.ndarray, nodes: int, workers: int, lost_every: float = np.inf, lost_for: float = 0.0
) -> Spent:
    """By the rules of Dispatch. A worker has one processor, so its cases follow one another."""
    rng = np.random.default_rng(1)
    dispatch: Dispatch[Member] = Dispatch(len(seconds))
    events: list[tuple[float, int, str, Member]] = []  # when, which of several at that time, what, who
    busy_until: dict[Member, float] = {}
    tries = np.zeros(len(seconds), int)
    given_up, now = 0, 0.0

    def expect(when: float, what: str, member: Member) -> None:
        heapq.heappush(events, (when, len(events), what, member))

    def start(node: int, life: int) -> None:
        expect(now + START, "ready", (node, life, 0))
        if np.isfinite(lost_every):
            expect(now + rng.exponential(lost_every), "lost", (node, life, 0))

    for node in range(nodes):
        start(node, 0)
    while dispatch.unfinished:
        now, _, what, member = heapq.heappop(events)
        node, life, _ = member
        if what == "ready":
            busy_until |= {(node, life, worker): now for worker in range(workers)}
        elif what == "lost":
            for worker in range(workers):
                busy_until.pop((node, life, worker), None)
                given_up += len(dispatch.lost((node, life, worker), with_node=True))
            expect(now + lost_for, "back", (node, life + 1, 0))
        elif what == "back":
            start(node, life)
        elif member in busy_until:
            dispatch.done(member, dispatch.held(member)[0])
        while given := dispatch.next_for(list(busy_until)):
            taker, case = given
            tries[case] += 1
            busy_until[taker] = max(busy_until[taker], now) + seconds[case]
            expect(busy_until[taker], "done", taker)
    return _spent(now, seconds.sum(), nodes * workers, int((tries > 1).sum()), given_up)


def _spent(seconds: float, work: float, workers: int, again: int = 0, given_up: int = 0) -> Spent:
    return Spent(seconds / 3600, 1 - work / (seconds * workers), again, given_up)


def _processor(stage: Callable[[], T]) -> tuple[T, float]:
    """What the stage gives, and the processor time that all threads of this process took."""
    start = time.process_time()
    result = stage()
    return result, time.process_time() - start


if __name__ == "__main__":
    main()

"""300 cases on two Ray nodes of this machine. A worker is killed with SIGKILL, a node is removed as by a
power cut, a node joins, and the driver is killed and started again. Then every result is that of a plain run,
byte for byte. A result made before the driver was killed is kept; only cases that were in flight are made
twice.
"""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.reliability.report import Row
from tests.runtime.cohort.folders import images_in, run, write_scan
from tests.support.ray_cluster import Machines, kill, ray_cluster, stopped, wait_until
from tests.support.small_model import write_artifact

CASES, QUICK = 300, 80
SHAPE = (24, 22, 20)
SETTINGS = ("--overlap", "0.6")
FOUND = [
    "Jobs on several machines took each other's half-written files for leftovers where the file system does "
    "not share locks: files of other machines are now left alone for a day.",
    "A worker that could not open the model kept its place, and a single case waited for ever.",
    "Ray prints lost workers and nodes on stdout, into the report of --json.",
]


def main(quick: bool = False) -> Iterator[Row]:
    """One row for the 300 cases."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "hooks").mkdir()
        with ray_cluster(folder / "hooks") as machines:
            machines.add(), machines.add()
            yield _campaign(machines, folder, QUICK if quick else CASES)


def _campaign(machines: Machines, folder: Path, cases: int) -> Row:
    artifact, scans, out, plain = (folder / name for name in ("model.onnx", "scans", "out", "plain"))
    write_artifact(artifact)
    scans.mkdir()
    for index in range(cases):
        write_scan(scans / f"{index:03d}.nii.gz", index, shape=SHAPE)
    log = folder / "stderr"
    with log.open("w") as told_to:
        driver = machines.start(artifact, scans, "-o", out, *SETTINGS, told=told_to)
    wait_until(lambda: len(images_in(out)) >= cases // 10 and len(machines.workers()) == 2)
    kill(machines.workers()[0])
    wait_until(lambda: len(images_in(out)) >= cases * 3 // 10 and len(machines.workers()) == 2)
    with stopped(machines.workers_of(machines.nodes[0])[0]):
        machines.remove(machines.nodes[0])
    wait_until(lambda: len(images_in(out)) >= cases * 5 // 10)
    machines.add()
    wait_until(lambda: len(images_in(out)) >= cases * 6 // 10 and len(machines.workers()) == 2)
    kill(driver.pid)
    driver.communicate()
    told = log.read_text()
    wait_until(lambda: not machines.workers())
    before = {name: (out / name).stat().st_mtime_ns for name in images_in(out)}
    code, reported, told_again = machines.run(artifact, scans, "-o", out, *SETTINGS, "--json")
    report = json.loads(reported)
    kept = {f"{case['case']}.nii.gz" for case in report["cases"] if case.get("kept")}
    made = [line.split(": ")[1] for line in (told + told_again).splitlines() if line.endswith(" s")]
    twice = len(made) - len(set(made))
    assert run(artifact, scans, "-o", plain, *SETTINGS) == 0
    wrong = [name for name in images_in(plain) if not _same(out / name, plain / name)]
    changed = [name for name, when in before.items() if (out / name).stat().st_mtime_ns != when]
    failures = (
        len(wrong) + len(changed) + (kept != set(before)) + (code != 0) + len(list(out.glob(".msdk-*")))
    )
    failures += "a worker died" not in told or "the node was lost" not in told
    return Row(
        "cases on two nodes, with a worker, a node and the driver lost",
        cases,
        failures,
        f"{len(images_in(plain)) - len(wrong)} right results; {len(before)} were there when the driver was "
        f"killed and were kept; {twice} results were written twice",
    )


def _same(path: Path, other: Path) -> bool:
    return path.exists() and path.read_bytes() == other.read_bytes()

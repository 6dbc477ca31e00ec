"""`msdk-rt serve` under clients that are many, rude or hostile. Four clients at once get the labels of
`msdk-rt run`, byte for byte. Whatever a client sends, it gets its labels, or one JSON object with a kind and
a sentence. Afterwards no file is left in the spool, neither process has more descriptors than before or more
threads than asyncio's pool may have, and memory has not grown by more than 32 MiB. A job whose process is
killed with SIGKILL is answered so, and the next one is segmented. After a killed server its worker ends by
itself, and the next server removes what was left.
"""

import os
import random
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nibabel
import numpy as np
import psutil

from msdk_rt.commands.main import main as command_line
from tests.reliability.report import Row
from tests.reliability.rude_clients import (
    HUGE,
    bomb,
    hang_up_in_answer,
    hang_up_in_job,
    hang_up_in_upload,
    noise,
    paths,
    send_huge,
    typed,
)
from tests.support.served import TOKEN, Served, form, served
from tests.support.small_model import write_artifact

CLIENTS, VOLUMES, JUNK, TIMES, KILLS = 4, 50, 1000, 30, 20
QUICK_VOLUMES, QUICK_JUNK, QUICK_TIMES, QUICK_KILLS = 4, 60, 3, 2
SHAPE, LARGE = (40, 38, 36), (90, 80, 70)
LIMIT_MB = 64
MOST_GROWTH = 32 << 20
THREADS = 8  # of asyncio's pool, which starts them as they are needed and has 32 at most
SEED = 11
LEAST_TOKENS = 20
FOUND = [
    "A client that was refused while it sent, for a wrong token for example, could find its connection reset "
    "in place of the answer. The server now listens until the client has noticed, for 2 s at most.",
]


def main(quick: bool = False) -> Iterator[Row]:
    times = QUICK_TIMES if quick else TIMES
    with tempfile.TemporaryDirectory(prefix="msdk-server-") as place:
        folder = Path(place)
        artifact = write_artifact(folder / "model.onnx")
        scans = write_scans(folder / "scans", QUICK_VOLUMES if quick else VOLUMES)
        labels = labels_of_run(artifact, scans, folder / "labels")
        options = (artifact, "--max-upload", LIMIT_MB, "--queue", 2 * CLIENTS, "--threads", 1)
        with served(folder / "first", *options) as server:
            server.send("/segment/model", scans[0])
            yield watched(server, "volumes from four clients at once", lambda: clients(server, scans, labels))
            large = write_scan(folder / "large.nii", 1, LARGE)
            for what, leave in (
                ("in the upload", hang_up_in_upload),
                ("while the job runs", hang_up_in_job),
                ("in the answer", hang_up_in_answer),
            ):
                yield watched(
                    server,
                    f"clients that hang up {what}",
                    lambda leave=leave: repeat(leave, server, large, times),
                )
            yield watched(server, "zip bombs", lambda: refused(server, [bomb(n) for n in range(times)]))
            yield watched(server, "zips with a path in them", lambda: refused(server, list(paths(times))))
            yield watched(server, "bodies of 10 GB", lambda: huge(server, times))
            yield watched(
                server,
                "wrong tokens, each with 10 GB",
                lambda: wrong_tokens(server, max(times, LEAST_TOKENS)),
            )
            count = QUICK_JUNK if quick else JUNK
            yield watched(server, "junk bodies", lambda: junk(server, scans[0].read_bytes(), count))
            yield watched(server, "labels again afterwards", lambda: clients(server, scans[:2], labels[:2]))
            kills = QUICK_KILLS if quick else KILLS
            yield killed_workers(server, large, scans[0], labels[0], kills)
        yield killed_servers(folder / "second", options, large, scans[0], labels[0], max(kills // 4, 1))


def watched(server: Served, what: str, act: Callable[[], tuple[int, int, str]]) -> Row:
    """act: returns how often, failures and outcome. What is left over of it counts as failures."""
    before = held(server)
    times, failures, outcome = act()
    left = server.left()
    after = held(server)
    end = time.monotonic() + 10  # connections that were cut are noticed within moments
    while (after[1] > before[1] or after[2] > before[2]) and time.monotonic() < end:
        time.sleep(0.1)
        after = held(server)
    grown, descriptors, threads = (last - first for first, last in zip(before, after, strict=True))
    failures += len(left) + (grown > MOST_GROWTH) + (descriptors > 0) + (threads > THREADS)
    return Row(
        what,
        times,
        failures,
        f"{outcome}; {len(left)} files left, memory {grown / 2**20:+.1f} MiB, descriptors {descriptors:+d}, "
        f"threads {threads:+d}",
    )


def held(server: Served) -> tuple[int, int, int]:
    """(resident bytes, descriptors, threads) of the server and its worker."""
    processes = [psutil.Process(server.process.pid), server.worker()]
    return (
        sum(process.memory_info().rss for process in processes),
        sum(process.num_fds() for process in processes),
        sum(process.num_threads() for process in processes),
    )


def write_scan(path: Path, seed: int, shape: tuple[int, int, int] = SHAPE) -> Path:
    voxels = np.random.default_rng(seed).gamma(2, 100, shape).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(voxels, np.diag([-1, 1, 1.5, 1])), path)
    return path


def write_scans(folder: Path, count: int) -> list[Path]:
    folder.mkdir()
    return [write_scan(folder / f"{seed:03d}.nii.gz", seed) for seed in range(count)]


def labels_of_run(artifact: Path, scans: list[Path], folder: Path) -> list[bytes]:
    """The files that `msdk-rt run` writes."""
    command = ["run", str(artifact), str(scans[0].parent), "-o", str(folder), "--quiet", "--threads", "1"]
    assert command_line(command) == 0
    return [(folder / scan.name).read_bytes() for scan in scans]


def clients(server: Served, scans: list[Path], labels: list[bytes]) -> tuple[int, int, str]:
    """Each client sends all volumes, in its own order."""

    def one(client: int) -> int:
        order = list(range(len(scans)))
        random.Random(client).shuffle(order)
        return sum(server.send("/segment/model", scans[index]).content != labels[index] for index in order)

    started = time.monotonic()
    with ThreadPoolExecutor(CLIENTS) as pool:
        wrong = sum(pool.map(one, range(CLIENTS)))
    count = CLIENTS * len(scans)
    seconds = time.monotonic() - started
    return count, wrong, f"{count - wrong} label files byte for byte those of run, in {seconds:.0f} s"


def repeat(
    act: Callable[[Served, Path], bool], server: Served, large: Path, times: int
) -> tuple[int, int, str]:
    failures = sum(not act(server, large) for _ in range(times))
    return times, failures, "the server noticed each"


def refused(server: Served, archives: list[bytes]) -> tuple[int, int, str]:
    kinds: Counter[str] = Counter()
    for archive in archives:
        kinds[typed(server.send("/segment/model", ("study.zip", archive)))] += 1
    return len(archives), len(archives) - kinds["400 InputError"], told(kinds)


def told(kinds: Counter[str]) -> str:
    return ", ".join(f"{count} times {kind}" for kind, count in kinds.most_common())


def huge(server: Served, times: int) -> tuple[int, int, str]:
    """Half of them say how long they are, half do not. Each sends until it is refused."""
    kinds: Counter[str] = Counter()
    most = 0
    for number in range(times):
        kind, sent = send_huge(server, None if number % 2 else HUGE, TOKEN)
        kinds[kind] += 1
        most = max(most, sent)
    return times, times - kinds["413 TooLarge"], f"{told(kinds)}, after {most / 1e6:.0f} MB at most"


def wrong_tokens(server: Served, times: int) -> tuple[int, int, str]:
    kinds: Counter[str] = Counter()
    most = 0
    for number in range(times):
        kind, sent = send_huge(server, None if number % 2 else HUGE, f"{TOKEN[:-1]}x")
        kinds[kind] += 1
        most = max(most, sent)
    return times, times - kinds["401 Unauthorized"], f"{told(kinds)}, after {most / 1e6:.0f} MB at most"


def junk(server: Served, honest: bytes, count: int) -> tuple[int, int, str]:
    """Bodies of noise, forms that were cut or changed, files that are no images, with every suffix."""
    random_ = random.Random(SEED)
    kinds: Counter[str] = Counter()
    for number in range(count):
        body, kind = form((f"x{random_.choice(('.nii', '.nii.gz', '.zip', '.dcm'))}", noise(random_, honest)))
        if number % 4 == 1:
            body = random_.randbytes(random_.randrange(4096))
        elif number % 4 == 2:
            body = body[: random_.randrange(len(body))]
        elif number % 4 == 3:
            changed = bytearray(body)
            for _ in range(random_.randrange(1, 20)):
                changed[random_.randrange(min(len(changed), 400))] = random_.randrange(256)
            body = bytes(changed)
        answer = server.ask(
            "POST", random_.choice(("/segment/model", "/infer/model")), body, {"Content-Type": kind}
        )
        kinds["labels" if answer.status == 200 else typed(answer)] += 1
    unknown = kinds["no answer"] + sum(n for kind, n in kinds.items() if kind.startswith("5"))
    return count, unknown, told(kinds)


def killed_workers(server: Served, large: Path, scan: Path, labels: bytes, times: int) -> Row:
    kinds: Counter[str] = Counter()
    failures = 0
    moments = random.Random(SEED)
    for _ in range(times):
        job = server.send("/jobs/model", large).json()["id"]
        server.wait_for(job, "running")
        time.sleep(moments.uniform(0, 0.5))
        server.worker().kill()
        entries = server.wait_for(job, "failed", "done")
        kinds[entries.get("error", {}).get("kind", "done")] += 1
        failures += "error" in entries and entries["error"]["kind"] != "WorkerLost"
        server.ask("DELETE", f"/jobs/{job}")
        failures += server.send("/segment/model", scan).content != labels
        failures += len(server.left())
    return Row("jobs whose process is killed", times, failures, f"{told(kinds)}; the next job has its labels")


def killed_servers(folder: Path, options: tuple, large: Path, scan: Path, labels: bytes, times: int) -> Row:
    failures = 0
    for _ in range(times):
        with served(folder, *options) as server:
            job = server.send("/jobs/model", large).json()["id"]
            server.wait_for(job, "running")
            worker = server.worker()
            os.kill(server.process.pid, signal.SIGKILL)
            server.process.wait()
            failures += bool(psutil.wait_procs([worker], timeout=10)[1])
        with served(folder, *options) as server:
            failures += len(server.left(0))
            failures += server.send("/segment/model", scan).content != labels
    return Row(
        "servers killed while a job runs",
        times,
        failures,
        "the worker ended by itself, the next server found an empty spool and gives the labels",
    )

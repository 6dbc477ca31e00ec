"""How many cases an hour does `msdk-rt serve` do, and how long does a client wait?

The demo network on the MNI152 head, at 2 mm for 1, 2, 4 and 8 clients and at 1 mm for 4. Each client sends
the volume as .nii.gz and waits for the labels, again and again. Beside it the same cases by `Segmenter.run`
and `save` in one process, with neither HTTP nor a second process.
"""

import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nibabel
import numpy as np

from benchmarks.measure import record
from msdk_export.demo_network import export_demo
from msdk_rt import Segmenter
from tests.support.served import Served, served

THREADS = 2
CLIENTS, CASES = (1, 2, 4, 8), 24
CLIENTS_1MM, CASES_1MM = 4, 8


def main() -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        export_demo(folder / "model.onnx", None, progress=False)
        small, whole = (write_head(folder / f"head{mm}.nii.gz", mm) for mm in (2, 1))
        with Segmenter(folder / "model.onnx", threads=THREADS) as segmenter:
            for scan, mm, cases in ((small, 2, CASES), (whole, 1, CASES_1MM)):
                segment(segmenter, scan)
                seconds = [segment(segmenter, scan) for _ in range(cases)]
                keep(f"the MNI152 head at {mm} mm, no server", seconds, sum(seconds))
        with served(folder / "server", folder / "model.onnx", "--threads", THREADS) as server:
            send(server, small)
            for clients in CLIENTS:
                keep(f"the MNI152 head at 2 mm, {clients} client(s)", *load(server, small, clients, CASES))
            case = f"the MNI152 head at 1 mm, {CLIENTS_1MM} client(s)"
            keep(case, *load(server, whole, CLIENTS_1MM, CASES_1MM))


def write_head(path: Path, mm: int) -> Path:
    from nilearn.datasets import load_mni152_template

    image = load_mni152_template(resolution=mm)
    voxels = np.asarray(image.dataobj) / np.asarray(image.dataobj).max() * 1000
    nibabel.save(nibabel.Nifti1Image(voxels.astype(np.int16), image.affine), path)
    return path


def segment(segmenter: Segmenter, scan: Path) -> float:
    """Seconds of a case from file to file."""
    started = time.perf_counter()
    segmenter.run(scan).save(scan.with_name("labels.nii.gz"))
    return time.perf_counter() - started


def send(server: Served, scan: Path) -> float:
    """Seconds of a request."""
    started = time.perf_counter()
    answer = server.send("/segment/model", scan)
    if answer.status != 200:
        raise RuntimeError(answer.content.decode())
    return time.perf_counter() - started


def load(server: Served, scan: Path, clients: int, cases: int) -> tuple[list[float], float]:
    """(seconds of each request, seconds of all)."""
    started = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        seconds = list(pool.map(lambda _: send(server, scan), range(cases)))
    return seconds, time.perf_counter() - started


def keep(case: str, seconds: list[float], whole: float) -> None:
    p50, p95 = np.percentile(seconds, [50, 95])
    rate = 3600 * len(seconds) / whole
    print(f"{case}: {rate:.0f} cases/h, p50 {p50:.2f} s, p95 {p95:.2f} s ({len(seconds)} cases)", flush=True)
    record("server", case, {"cases an hour": rate}, "cases/h")
    record("server", case, {"a request, p50": p50, "a request, p95": p95}, "s")

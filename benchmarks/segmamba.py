"""Does a SegMamba checkpoint of the published size go through export, and what do export and a window cost?

Random weights in a bare state dict, four channels, 128^3. Each step is a separate process, so that its peak
memory is its own. The reference is tests/support/segmamba_reference.py: MONAI's blocks and the oracle's scan.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.measure import record
from benchmarks.network import CHANNELS, LABELS, THREADS, profile, run_artifact, window
from msdk_rt.bench.machine import own_peak_memory

SIDE = 128
RUNS = 3
RELATIVE_ERROR_LIMIT = 1e-3
CASE = f"published size, random weights, window {SIDE}^3"


def weights(folder: Path) -> Path:
    return folder / "segmamba.pt"


def artifact(folder: Path) -> Path:
    return folder / "segmamba.onnx"


def published_network():
    import torch

    from msdk_export.models import SegMambaConfig
    from tests.support.segmamba_reference import PublishedSegMamba

    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    return PublishedSegMamba(SegMambaConfig()).eval().requires_grad_(False)


def save_weights(folder: Path) -> None:
    import torch

    torch.save(published_network().state_dict(), weights(folder))


def export(folder: Path) -> float:
    """Seconds of msdk_rt.export, its comparison with PyTorch on two windows among them."""
    import torch

    import msdk_rt

    torch.set_num_threads(THREADS)
    started = time.perf_counter()
    msdk_rt.export(
        weights(folder), artifact(folder), window=(SIDE,) * 3, channels=CHANNELS, labels=LABELS,
        sample=np.random.default_rng(1).standard_normal((len(CHANNELS), SIDE, SIDE, SIDE), np.float32),
    )  # fmt: skip
    return time.perf_counter() - started


def run_windows(folder: Path) -> float:
    """Median seconds of a window in ONNX Runtime; keeps its logits."""
    run = run_artifact(artifact(folder), SIDE)
    np.save(folder / "found.npy", run())
    seconds = []
    for _ in range(RUNS):
        started = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - started)
    return float(np.median(seconds))


def run_reference(folder: Path) -> float:
    """Seconds of the published layers; keeps their logits."""
    import torch

    network = published_network()
    network.load_state_dict(torch.load(weights(folder), weights_only=True))
    started = time.perf_counter()
    with torch.inference_mode():
        logits = network(torch.from_numpy(window(SIDE)))
    np.save(folder / "expected.npy", logits.numpy())
    return time.perf_counter() - started


STEPS = {
    "export": export,
    f"one window, {THREADS} threads": run_windows,
    "the published layers with the oracle's scan": run_reference,
}


def in_own_process(step: str, folder: Path) -> tuple[float, float]:
    """(seconds, peak resident MB) of a step."""
    command = [sys.executable, "-m", "benchmarks.segmamba", step, str(folder)]
    finished = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1]
    )
    seconds, peak = finished.stdout.split()[-2:]
    return float(seconds), float(peak)


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_weights(folder)
        for step in STEPS:
            seconds, peak = in_own_process(step, folder)
            print(f"{step}: {seconds:.1f} s, peak memory {peak:.0f} MB", flush=True)
            record("segmamba", CASE, {f"{step}: time": seconds}, "s")
            record("segmamba", CASE, {f"{step}: peak memory": peak}, "MB")

        found, expected = np.load(folder / "found.npy"), np.load(folder / "expected.npy")
        error = float(np.abs(found - expected).max() / np.abs(expected).max())
        labels = float(np.mean(found.argmax(1) == expected.argmax(1)))
        print(f"relative error of the logits {error:.1e}, voxels labelled alike {labels:.6%}", flush=True)
        record("segmamba", CASE, {"relative error of the logits": error, "voxels labelled alike": labels}, "")

        spent = profile(artifact(folder), SIDE)
        total = sum(spent.values())
        print(
            "profile: " + ", ".join(f"{op} {ms / total:.0%}" for op, ms in spent.items() if ms > total / 100)
        )
        record("segmamba_profile", CASE, spent, "ms")
    if not error <= RELATIVE_ERROR_LIMIT:
        raise SystemExit(f"relative error {error:.1e} above {RELATIVE_ERROR_LIMIT:g}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(STEPS[sys.argv[1]](Path(sys.argv[2])), own_peak_memory())
    else:
        from benchmarks import report

        main()
        report.write()

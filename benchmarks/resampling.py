"""How long does resampling take against nnU-Net's own function, and in how much memory?

Needs `pip install nnunetv2`. nnU-Net's function works on one thread whatever the machine has: it is timed
beside ours on one thread and on THREADS. Both get the same arrays, and their results are compared before a
time is taken: volumes to rounding, labels but for voxels where two float16 logits are all but equal.
"""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil

from benchmarks.measure import Contestant, measure, record
from msdk_rt.bench.machine import own_peak_memory
from msdk_rt.inference.resampling import resample, resample_to_labels

THREADS = 2
SHAPE = (240, 240, 240)
CLASSES = 25
AGREEMENT = 1e-6  # of the largest value
LABELS_APART = 1e-4  # of the voxels, at most
DATA = "volume (1, 160, 192, 160) to (1, 240, 240, 240), order 3"
PLANES = "volume (1, 40, 192, 160) to (1, 60, 288, 240), separate z: order 3 in the plane, 0 across it"
LOGITS = f"logits ({CLASSES}, 120, 144, 120) to labels (240, 240, 240), order 1, float16 results"


def smooth(channels: int, shape: tuple[int, int, int], dtype: type = np.float32) -> np.ndarray:
    """Waves and a little noise: whole regions have one label, as those of a network's logits do.

    float16 numbers in whatever type, a channel at a time, so that making them is no peak of memory.
    """
    random = np.random.default_rng(0)
    data = np.empty((channels, *shape), dtype)
    axes = np.meshgrid(
        *(np.linspace(0, 6, side, dtype=np.float32) for side in shape), indexing="ij", sparse=True
    )
    for channel in data:
        wave = random.standard_normal(shape, np.float32)
        wave *= 0.1
        for axis, (speed, phase) in zip(axes, random.normal(0, 1, (3, 2)).astype(np.float32), strict=True):
            wave += 4 * np.sin(speed * axis + 3 * phase)
        channel[...] = wave.astype(np.float16)
    return data


def logits(dtype: type) -> np.ndarray:
    return smooth(CLASSES, (120, 144, 120), dtype)


def nnunet(data: np.ndarray, shape: tuple[int, int, int], order: int, axis: int | None = None) -> np.ndarray:
    from nnunetv2.preprocessing.resampling.default_resampling import resample_data_or_seg

    return resample_data_or_seg(data, shape, False, axis, order, axis is not None, 0)


def ours_on(threads: int, data: np.ndarray) -> Callable[[], np.ndarray]:
    return lambda: resample_to_labels(data, SHAPE, range(CLASSES), "softmax", half=True, threads=threads)


def nnunets_labels(half: np.ndarray) -> np.ndarray:
    return nnunet(half, SHAPE, 1).argmax(0)


def time_volumes(case: str, depth: int, shape: tuple[int, int, int], axis: int | None) -> None:
    data = smooth(1, (depth, 192, 160))
    ours = resample(data, shape, order=3, separate_axis=axis)
    difference = np.abs(ours - nnunet(data, shape, 3, axis)).max() / np.abs(data).max()
    assert difference < AGREEMENT, f"results differ by {difference:.2g} of the largest value"
    contestants = [
        Contestant(
            f"ours, {threads} thread(s)",
            lambda threads=threads: resample(data, shape, order=3, separate_axis=axis, threads=threads),
            threads,
        )
        for threads in (1, THREADS)
    ]
    contestants.append(Contestant("nnU-Net", lambda: nnunet(data, shape, 3, axis), 1))
    measure("resampling", case, contestants, work=np.prod(shape) / 1e6, unit="Mvoxel", seconds=3.0)
    record("resampling_agreement", case, {"largest difference / largest value": difference}, "")


def time_labels() -> None:
    data, half = logits(np.float32), logits(np.float16)
    apart = np.count_nonzero(ours_on(1, data)() != nnunets_labels(half)) / np.prod(SHAPE)
    assert apart < LABELS_APART, f"{apart:.2g} of the labels differ"
    contestants = [
        Contestant(f"ours, {threads} thread(s)", ours_on(threads, data), threads) for threads in (1, THREADS)
    ]
    contestants.append(Contestant("nnU-Net", lambda: nnunets_labels(half), 1))
    work = CLASSES * np.prod(SHAPE) / 1e6
    measure("resampling", LOGITS, contestants, work=work, unit="Mlogit", seconds=3.0, least_runs=1)
    record("resampling_agreement", LOGITS, {"labels that differ": apart}, "of all")
    memory = {name: peak_memory(name) for name in ("ours", "nnU-Net")}
    record("resampling_memory", LOGITS, memory, "MB")
    print(
        "  peak memory beside the logits: " + ", ".join(f"{name} {mb:.0f} MB" for name, mb in memory.items())
    )


def peak_memory(contestant: str) -> float:
    """By how many MB a process of its own grows beyond libraries and logits while it finds the labels."""
    command = [sys.executable, "-m", "benchmarks.resampling", contestant]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[1])
    return float(done.stdout)


def run_alone(contestant: str) -> None:
    nnunets = contestant == "nnU-Net"
    nnunet(np.zeros((1, 2, 2, 2), np.float32), (3, 3, 3), 1)  # its libraries are loaded
    data = logits(np.float16 if nnunets else np.float32)
    before = psutil.Process().memory_info().rss / 1e6
    if nnunets:
        nnunets_labels(data)
    else:
        ours_on(THREADS, data)()
    print(own_peak_memory() - before)


def main() -> None:
    time_volumes(DATA, 160, SHAPE, None)
    time_volumes(PLANES, 40, (60, 288, 240), 0)
    time_labels()


if __name__ == "__main__":
    if sys.argv[1:]:
        run_alone(sys.argv[1])
    else:
        main()

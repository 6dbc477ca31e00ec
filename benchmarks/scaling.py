"""Does the cost grow no faster than the work? Exponents fitted over sizes; 1 is linear.

The scan from 1,024 to 2 million tokens, and whole volumes from 96^3 to 512^3 voxels through the demo network.
A window costs the same wherever it lies, so a volume's cost is linear in the windows that cover it; memory
must not grow by more than input, labels and accumulators. Each volume has its own process.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.measure import Contestant, record, time_in_turns
from msdk_rt.bench.machine import own_peak_memory

THREADS = 2
LENGTHS = tuple(2**power for power in range(10, 22))
SIDES = (96, 144, 192, 256, 384, 512)
SECONDS, LEAST_RUNS = 1.0, 3


def exponent(work: dict[int, float]) -> float:
    """Slope of log cost over log size, least squares."""
    return float(np.polyfit(np.log(list(work)), np.log(list(work.values())), 1)[0])


def scan() -> None:
    """Time all lengths alternately: in sequence, a busy second would look like a property of one length."""
    contestants = dict(zip(LENGTHS, _scans(), strict=True))
    time_in_turns(list(contestants.values()), SECONDS, LEAST_RUNS)
    spent = {length: contestant.median() for length, contestant in contestants.items()}
    for length, seconds in spent.items():
        print(f"  L={length:8}: {seconds * 1e3:10.3f} ms, {seconds / length * 1e9:.1f} ns a token")
    name = f"scan, D=96 N=16 K=2, {THREADS} threads"
    record("scaling", name, {f"L = {length}": 1e9 * s / length for length, s in spent.items()}, "ns a token")
    print(f"  exponent {exponent(spent):.3f}\n")
    record("scaling", name, {"exponent": exponent(spent)}, "")


def _scans() -> Iterator[Contestant]:
    """One for each length, on the first tokens of the longest."""
    from benchmarks.scan_op import case, ours

    longest = max(LENGTHS)
    inputs = case(longest).inputs()
    for length in LENGTHS:
        cut = {
            name: np.ascontiguousarray(array[..., :length]) if array.shape[-1] == longest else array
            for name, array in inputs.items()
        }
        yield ours(cut, THREADS)


def volumes() -> None:
    from benchmarks.precision import demo, export_alone

    seconds, memory = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        artifact = Path(folder) / "model.onnx"
        export_alone(*demo(), artifact)  # random voxels show no brain to a mask
        for side in SIDES:
            command = [sys.executable, "-m", "benchmarks.scaling", str(artifact), str(side)]
            root = Path(__file__).parents[1]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=root)
            windows, spent, peak = (float(word) for word in done.stdout.split())
            seconds[int(windows)], memory[side] = spent, peak
            print(f"  {side}^3: {windows:.0f} windows, {spent:.1f} s, peak memory {peak:.0f} MB", flush=True)
    name = f"volume, demo network, {THREADS} threads"
    figures = {
        f"{side}^3, {n} windows": 1e3 * s / n for side, (n, s) in zip(SIDES, seconds.items(), strict=True)
    }
    record("scaling", name, figures, "ms a window")
    record("scaling", name, {f"{side}^3, peak memory": mb for side, mb in memory.items()}, "MB")
    voxels = np.array([side**3 for side in SIDES]) / 1e6
    growth, _base = np.polyfit(voxels, list(memory.values()), 1)
    print(f"  exponent over windows {exponent(seconds):.3f}; memory grows by {growth:.1f} bytes a voxel\n")
    record("scaling", name, {"exponent over windows": exponent(seconds)}, "")
    record("scaling", name, {"growth of memory": float(growth)}, "bytes a voxel")


def one_volume(artifact: Path, side: int) -> None:
    """Prints windows, seconds and peak resident MB of one random volume."""
    from msdk_rt import Segmenter

    volume = np.random.default_rng(0).random((1, side, side, side), dtype=np.float32)
    with Segmenter(artifact, threads=THREADS) as segmenter:
        segmenter.run(volume[:, :96, :96, :96])
        started = time.perf_counter()
        segmenter.run(volume)
        print(segmenter.count_windows((side,) * 3), time.perf_counter() - started, own_peak_memory())


def main() -> None:
    scan()
    volumes()


if __name__ == "__main__":
    one_volume(Path(sys.argv[1]), int(sys.argv[2]))

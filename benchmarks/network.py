"""How long does a whole window take, in how much memory, and where does the time go?

MSD-KMamba of the base size with random weights, four channels, against the same network in PyTorch.
"""

import functools
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.measure import Contestant, measure, record
from msdk_rt.bench.machine import own_peak_memory

THREADS = 2
PROVIDERS = ("CPUExecutionProvider",)
SIDES = (96, 128)
CHANNELS = ("T1", "T1ce", "T2", "FLAIR")
LABELS = {"background": 0, "necrosis": 1, "oedema": 2, "enhancing": 3}


def window(side: int, batch: int = 1) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((batch, len(CHANNELS), *(side,) * 3), dtype=np.float32)


def pytorch_model():
    import torch

    from msdk_export.models import MSDKMamba

    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    return MSDKMamba().eval().requires_grad_(False)


def run_pytorch(model, side: int):
    import torch

    image = torch.from_numpy(window(side))

    def run():
        with torch.inference_mode():
            return model(image).numpy()

    return run


def run_artifact(path: Path, side: int, threads: int = THREADS, batch: int = 1):
    """A function that runs one window, or a batch of them."""
    from msdk_rt.backends.onnxruntime import open_session, run_session

    return functools.partial(run_session, open_session(path, PROVIDERS, threads), window(side, batch))


def build_artifact(folder: Path, side: int) -> Path:
    """Build the graph that msdk_rt.export writes; it is compared with PyTorch below, not here too."""
    from msdk_export.checkpoints import describe_model
    from msdk_export.description import describe
    from msdk_export.graph.rules import with_cpu_ops
    from msdk_export.graph.trace import to_onnx

    model = pytorch_model()
    model_says = {"window": [side] * 3, "channels": list(CHANNELS), "labels": LABELS} | describe_model(model)
    path = folder / f"base_{side}.onnx"
    path.write_bytes(with_cpu_ops(to_onnx(model, describe(model_says))).SerializeToString())
    return path


def profile(path: Path, side: int) -> dict[str, float]:
    """Milliseconds by op type of one window, the largest first."""
    from msdk_rt.bench.profile import profile

    return {cost.op: 1e3 * cost.seconds for cost in profile(path, PROVIDERS, THREADS, window(side))}


def peak_memory(contestant: str, side: int, path: Path) -> float:
    """Peak resident MB of a separate process that runs one window."""
    command = [sys.executable, "-m", "benchmarks.network", contestant, str(side), str(path)]
    finished = subprocess.run(
        command, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[1]
    )
    return float(finished.stdout)


def main() -> None:
    import torch

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for side in SIDES:
            case = f"base network, window {side}^3"
            path = build_artifact(folder, side)
            model = pytorch_model()
            run = run_artifact(path, side)
            contestants = [
                Contestant("msdk_rt", run, THREADS),
                Contestant("PyTorch eager", run_pytorch(model, side), THREADS),
                Contestant("torch.compile", run_pytorch(torch.compile(model, dynamic=False), side), THREADS),
            ]
            expected = contestants[1].run()
            error = np.abs(run() - expected).max() / np.abs(expected).max()
            print(f"{case}: relative error {error:.1e}")
            measure("network", case, contestants, seconds=6.0)
            del run, contestants, model

            spent = profile(path, side)
            record("network_profile", case, spent, "ms")
            total = sum(spent.values())
            print(
                "  profile: "
                + ", ".join(f"{op} {ms / total:.0%}" for op, ms in spent.items() if ms > total / 100)
            )

            memory = {name: peak_memory(name, side, path) for name in ("msdk_rt", "pytorch")}
            record("network_memory", case, memory, "MB")
            print("  peak memory: " + ", ".join(f"{name} {mb:.0f} MB" for name, mb in memory.items()) + "\n")


if __name__ == "__main__":
    contestant, side, path = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    if contestant == "msdk_rt":
        run_artifact(path, side)()
    else:
        run_pytorch(pytorch_model(), side)()
    print(own_peak_memory())

"""How long does a whole window take, in how much memory, and where does the time go?

MSD-KMamba of the base size with random weights, four channels, against the same network in PyTorch.
"""

import collections
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.measure import Contestant, measure, record
from msdk_rt.bench.machine import own_peak_memory

THREADS = 2
SIDES = (96, 128)
CHANNELS = ("T1", "T1ce", "T2", "FLAIR")
LABELS = {"background": 0, "necrosis": 1, "oedema": 2, "enhancing": 3}


def window(side: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((1, len(CHANNELS), side, side, side), dtype=np.float32)


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


def run_artifact(path: Path, side: int, profile_prefix: str | None = None):
    """A function that runs one window, and the session it runs in."""
    import onnxruntime

    import msdk_rt

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    options.register_custom_ops_library(str(msdk_rt.ops_library()))
    if profile_prefix:
        options.enable_profiling, options.profile_file_prefix = True, profile_prefix
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    image = window(side)
    return lambda: session.run(None, {"image": image})[0], session


def build_artifact(folder: Path, side: int) -> Path:
    """The graph that msdk_rt.export writes, compared with PyTorch below and not in the export as well."""
    from msdk_export.checkpoints import describe_model
    from msdk_export.description import describe
    from msdk_export.onnx_graph import to_onnx

    model = pytorch_model()
    model_says = {"window": [side] * 3, "channels": list(CHANNELS), "labels": LABELS} | describe_model(model)
    path = folder / f"base_{side}.onnx"
    path.write_bytes(to_onnx(model, describe(model_says)).SerializeToString())
    return path


def profile(path: Path, side: int, folder: Path) -> dict[str, float]:
    """Milliseconds by op type of one window, the largest first."""
    run, session = run_artifact(path, side, str(folder / "profile"))
    run()
    run()
    events = json.loads(Path(session.end_profiling()).read_text())
    kernels = [e for e in events if e.get("cat") == "Node" and e["name"].endswith("kernel_time")]
    spent = collections.Counter()
    for event in kernels[len(kernels) // 2 :]:  # the second run: the first also allocates
        spent[event["args"]["op_name"]] += event["dur"] / 1e3
    return dict(spent.most_common())


def peak_memory(contestant: str, side: int, path: Path) -> float:
    """Peak resident MB of a process of its own that runs one window."""
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
            run, session = run_artifact(path, side)
            contestants = [
                Contestant("msdk_rt", run, THREADS),
                Contestant("PyTorch eager", run_pytorch(model, side), THREADS),
                Contestant("torch.compile", run_pytorch(torch.compile(model, dynamic=False), side), THREADS),
            ]
            expected = contestants[1].run()
            error = np.abs(run() - expected).max() / np.abs(expected).max()
            print(f"{case}: relative error {error:.1e}")
            measure("network", case, contestants, seconds=6.0)
            del session, run, contestants, model

            spent = profile(path, side, folder)
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
        run_artifact(path, side)[0]()
    else:
        run_pytorch(pytorch_model(), side)()
    print(own_peak_memory())

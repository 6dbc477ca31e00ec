"""How far is a SegMamba of the published size from float64 on a 128^3 window, beside PyTorch's own float32?

Ten random seeds, each exported in its own process, with float64 on the real window whatever that costs.
Export by itself leaves it out where a float32 run takes more than 2 seconds.
`python -m benchmarks.segmamba_seeds 4 5` runs two of the seeds: each takes minutes and 9 GiB.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.measure import record
from benchmarks.network import CHANNELS, LABELS, THREADS

SIDE, SEEDS, FACTOR = 128, 10, 3.0
ONE = "--one"


def export(seed: int, folder: Path) -> dict[str, float]:
    """Parity on the real window. Raises what msdk_rt.export raises."""
    import torch
    from safetensors.torch import save_file

    import msdk_export.parity.exact
    import msdk_rt
    from msdk_export.models import SegMamba

    msdk_export.parity.exact.AFFORDABLE_SECONDS = float("inf")
    torch.set_num_threads(THREADS)
    torch.manual_seed(seed)
    weights = folder / "weights.safetensors"
    save_file(SegMamba().eval().state_dict(), weights)
    manifest = msdk_rt.export(
        weights, folder / "model.onnx", window=(SIDE,) * 3, channels=CHANNELS, labels=LABELS
    )
    return manifest.parity["real"]


def in_own_process(seed: int) -> dict[str, float]:
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.segmamba_seeds", ONE, str(seed)]
    finished = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1]
    )
    return json.loads(finished.stdout.splitlines()[-1])


def main(seeds: Sequence[int] = range(SEEDS)) -> None:
    worst = 0.0
    for seed in seeds:
        parity = in_own_process(seed)
        ours, own = parity["error_to_float64"], parity["pytorch_error_to_float64"]
        worst = max(worst, ours / own)
        print(
            f"seed {seed}: artifact {ours:.2e} from float64, PyTorch {own:.2e}, {ours / own:.2f} times",
            flush=True,
        )
        values = {
            "artifact": ours,
            "PyTorch float32": own,
            "artifact beside PyTorch": parity["relative_error"],
        }
        record("segmamba_seeds", f"published size, {SIDE}^3, seed {seed}, relative error", values, "")
    if worst > FACTOR:
        raise SystemExit(f"{worst:.2f} times PyTorch's own error, at most {FACTOR:g} are allowed")


if __name__ == "__main__":
    if sys.argv[1:2] == [ONE]:
        with tempfile.TemporaryDirectory() as place:
            print(json.dumps(export(int(sys.argv[2]), Path(place))))
    else:
        main([int(seed) for seed in sys.argv[1:]] or range(SEEDS))

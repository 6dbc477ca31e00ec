"""`python -m tests.release.triton`: the model that takes volumes in a real Triton on this machine.

The server and its Python backend come from the wheel nvidia-pytriton (Linux, x86-64), with NumPy 1: with
NumPy 2 this backend gives empty outputs. They are installed with pip into build/triton the first time. The
wheel has no ONNX Runtime and no TensorRT backend, so the network's own model is not loaded.

exit codes: 0 labels and refusals as they must be, 1 not.
"""

import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import Any

import numpy as np

from msdk_rt import Segmenter
from msdk_rt.commands.main import main as command_line
from tests.release.triton_server import ask, triton_server
from tests.release.wheels import ROOT
from tests.support.small_model import write_artifact

PLACE = ROOT / "build" / "triton"
PACKAGES = ("numpy==1.26.4", "nibabel", "tqdm", "onnxruntime")
TRITON = "nvidia-pytriton==0.7.0"
SHAPES = ((20, 18, 16), (8, 6, 7), (5, 40, 7))


def main() -> int:
    environment = made()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        artifact = write_artifact(folder / "model.onnx", channels=2, labels={"background": 0, "lesion": 3})
        repository = folder / "repository"
        options = ("--name", "brain", "--overlap", "0.25", "--threads", "1")
        if command_line(["triton", str(artifact), str(repository), *options]) != 0:
            return 1
        with (
            Segmenter(artifact, overlap=0.25, threads=1) as segmenter,
            triton_server(environment, repository, folder, "brain") as port,
        ):
            wrong = compare(port, segmenter) + refusals(port) + compare(port, segmenter)
            _, server = ask(port, "GET", "/v2")
    for sentence in wrong:
        print(sentence, file=sys.stderr)
    what = f"{len(wrong)} differences in {len(SHAPES)} volumes, each twice"
    print(f"Triton {server['version']}, Python backend: {what}")
    return int(bool(wrong))


def made() -> Path:
    """The environment of Triton's Python, where this checkout is installed by its path."""
    if not (PLACE / ".installed").exists():
        venv.create(PLACE, with_pip=True)
        pip = [str(PLACE / "bin" / "pip"), "install", "--quiet"]
        subprocess.run([*pip, *PACKAGES], check=True)
        subprocess.run([*pip, "--no-deps", TRITON], check=True)
        (site,) = PLACE.glob("lib/python3*/site-packages")
        (site / "checkout.pth").write_text(f"{ROOT}\n")
        (PLACE / ".installed").touch()
    return PLACE


def compare(port: int, segmenter: Segmenter) -> list[str]:
    """Differences between Triton's labels and the Segmenter's."""
    wrong = []
    for seed, shape in enumerate(SHAPES):
        volume = np.random.default_rng(seed).gamma(2, 100, (2, *shape)).astype(np.float32)
        status, answer = infer(port, volume, [1.0, 1.0, 1.5] if seed else None)
        if status != 200:
            wrong.append(f"{shape}: {answer}")
            continue
        output = answer["outputs"][0]
        labels = np.asarray(output["data"]).reshape(output["shape"])
        if output["datatype"] != "UINT8" or not np.array_equal(labels, segmenter.run(volume)):
            wrong.append(f"{shape}: other labels than the Segmenter's")
    return wrong


def refusals(port: int) -> list[str]:
    """Requests that are not answered with our own sentence."""
    empty = infer(port, np.zeros((2, 0, 6, 7), np.float32))
    channels = infer(port, np.zeros((3, 8, 6, 7), np.float32))
    wrong = [] if empty[0] != 200 and "0" in str(empty[1]) else [f"an empty volume: {empty}"]
    return wrong + ([] if channels[0] == 400 else [f"three channels: {channels}"])


def infer(port: int, volume: np.ndarray, spacing: list[float] | None = None) -> tuple[int, Any]:
    inputs = [tensor("VOLUME", volume)]
    if spacing is not None:
        inputs.append(tensor("SPACING", np.asarray(spacing, np.float32)))
    return ask(port, "POST", "/v2/models/brain/infer", {"inputs": inputs})


def tensor(name: str, array: np.ndarray) -> dict[str, Any]:
    return {"name": name, "shape": list(array.shape), "datatype": "FP32", "data": array.ravel().tolist()}


if __name__ == "__main__":
    sys.exit(main())

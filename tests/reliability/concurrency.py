"""Many at once give what one gives, bit for bit: threads that share a Segmenter, processes that share an
artifact. Exports to one path, and a process that opens it meanwhile, never see a model with another model's
manifest. A Segmenter that came to another process says so.
"""

import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

import msdk_rt
from msdk_rt.artifact.manifest import manifest_path, replace_pair
from tests.reliability.report import Row
from tests.support.small_model import write_artifact

FOUND = (
    "Two exports to one path could leave the model of one with the manifest of the other, and a Segmenter "
    "opened meanwhile could run the new model with the old label map: both now hold the folder's lock.",
    "A Segmenter in a forked process ran without the threads of its inference library, and could not be "
    "pickled for a spawned one, in ONNX Runtime's words: both are a BackendError that names the process.",
)
SPAWN = multiprocessing.get_context("spawn")


def main(quick: bool = False) -> list[Row]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = export(folder / "model.onnx")
        pair = [write_artifact(folder / f"{classes}.onnx", classes=classes) for classes in (2, 3)]
        return [
            threads(model, volumes=5 if quick else 100),
            processes(model, volumes=2 if quick else 100),
            exports(pair, folder / "shared.onnx", seconds=1 if quick else 60),
            other_processes(model),
        ]


def export(path: Path) -> Path:
    """A small network with every msdk op and random weights."""
    import torch  # here, since processes that only segment import this module too

    from msdk_export.models import MSDKMamba, MSDKMambaConfig

    torch.manual_seed(7)
    network = MSDKMamba(MSDKMambaConfig(in_channels=1, num_classes=3, dims=(6, 8), depths=(1, 1), d_state=3))
    labels = {"background": 0, "grey": 2, "white": 5}
    msdk_rt.export(network, path, window=(16, 12, 8), channels=["t1"], labels=labels, sample=random_volume(0))
    return path


def random_volume(seed: int) -> np.ndarray:
    """(1, D, H, W) of a shape that depends on the seed."""
    rng = np.random.default_rng(seed)
    return rng.gamma(2, 100, (1, *rng.integers((9, 7, 5), (23, 19, 17)))).astype(np.float32)


def threads(model: Path, volumes: int, count: int = 4) -> Row:
    """One Segmenter, in threads that are switched at every chance."""
    interval = sys.getswitchinterval()
    with msdk_rt.Segmenter(model, batch_size=2, threads=2) as segmenter:
        expected = [segmenter.run(random_volume(seed)) for seed in range(volumes)]

        def differing(first: int) -> int:
            order = np.random.default_rng(first).permutation(volumes)
            return sum(not np.array_equal(segmenter.run(random_volume(i)), expected[i]) for i in order)

        sys.setswitchinterval(1e-6)
        try:
            with ThreadPoolExecutor(count) as pool:
                failures = sum(pool.map(differing, range(count)))
        finally:
            sys.setswitchinterval(interval)
    return Row(f"volumes in {count} threads", count * volumes, failures, "bit for bit as in one")


def labels_of(model: Path, volumes: int) -> list[bytes]:
    with msdk_rt.Segmenter(model, threads=1) as segmenter:
        return [segmenter.run(random_volume(seed)).tobytes() for seed in range(volumes)]


def processes(model: Path, volumes: int, count: int = 4) -> Row:
    expected = labels_of(model, volumes)
    with SPAWN.Pool(count) as pool:
        results = pool.starmap(labels_of, [(model, volumes)] * count)
    failures = sum(
        mine != theirs for result in results for mine, theirs in zip(result, expected, strict=True)
    )
    return Row(f"volumes in {count} processes", count * volumes, failures, "bit for bit as in one")


def replace_again_and_again(model: Path, shared: Path, seconds: float) -> int:
    """Repeat the end of an export, from a pair that is ready. Returns how often."""
    times, end = 0, time.monotonic() + seconds
    with tempfile.TemporaryDirectory(dir=shared.parent) as name:
        staged = Path(name) / model.name
        while time.monotonic() < end:
            shutil.copy(model, staged)
            shutil.copy(manifest_path(model), manifest_path(staged))
            replace_pair(staged, shared)
            times += 1
    return times


def exports(models: list[Path], shared: Path, seconds: float) -> Row:
    volume = random_volume(3)
    expected = {}
    for model in models:
        with msdk_rt.Segmenter(model) as segmenter:
            expected[segmenter.manifest.sha256] = segmenter.run(volume)
    failures = 0
    replace_again_and_again(models[0], shared, 0.01)
    with SPAWN.Pool(len(models)) as pool:
        writers = pool.starmap_async(replace_again_and_again, [(model, shared, seconds) for model in models])
        opened = 0
        while not writers.ready():
            with msdk_rt.Segmenter(shared) as segmenter:
                failures += not np.array_equal(segmenter.run(volume), expected[segmenter.manifest.sha256])
            opened += 1
        replaced = sum(writers.get())
    return Row(
        f"replacements of one artifact by {len(models)} exporters", replaced, failures,
        f"every one whole; opened {opened} times meanwhile, model and manifest of one export each time",
    )  # fmt: skip


def refusal(segmenter: msdk_rt.Segmenter, answer) -> None:
    try:
        segmenter.run(random_volume(0))
    except msdk_rt.BackendError as error:
        answer.send(str(error))
    answer.close()


def other_processes(model: Path) -> Row:
    """Forked, where the Segmenter is there and cannot work; spawned, to where it cannot even be sent."""
    failures = 0
    with msdk_rt.Segmenter(model) as segmenter:
        expected = segmenter.run(random_volume(0))
        for method in ("fork", "spawn"):
            receiver, sender = SPAWN.Pipe(duplex=False)
            process = multiprocessing.get_context(method).Process(target=refusal, args=(segmenter, sender))
            try:
                process.start()
                sender.close()
                message = receiver.recv()
                process.join()
            except msdk_rt.BackendError as error:
                message = str(error)
            failures += f"process {os.getpid()}" not in message
        failures += not np.array_equal(segmenter.run(random_volume(0)), expected)
    return Row("processes a Segmenter came to", 2, failures, "BackendError names its own process")

"""Checks of a Segmenter on any backend: threads agree, memory is flat, damaged files are refused."""

import dataclasses
import shutil
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from msdk_rt import Segmenter
from msdk_rt.artifact.manifest import manifest_path, read_manifest, sha256_of, write_manifest
from msdk_rt.errors import ArtifactError, MsdkError
from tests.gpu.memory import Reader, check_flat

SEED = 61


def volume_of(segmenter: Segmenter, windows: int) -> np.ndarray:
    """A random volume (C, D, H, W) that takes so many windows at an overlap of a half."""
    depth, height, width = segmenter.manifest.window
    shape = (depth + (windows - 1) * (depth // 2), height, width)
    assert segmenter.count_windows(shape) == windows
    channels = len(segmenter.manifest.channels)
    return np.random.default_rng([SEED, windows]).gamma(2, 100, (channels, *shape)).astype(np.float32)


def check_threads(segmenter: Segmenter, threads: int = 4, rounds: int = 3) -> str:
    """Threads that start together on volumes of different sizes get, bit for bit, what one alone gets."""
    volumes = [volume_of(segmenter, 1 + index % 3) for index in range(threads)]
    expected = [segmenter.run(volume, return_probabilities=True) for volume in volumes]
    start = threading.Barrier(threads)

    def work(first: int) -> None:
        start.wait(60)
        for step in range(rounds):
            index = (first + step) % threads
            found = segmenter.run(volumes[index], return_probabilities=True)
            what = f"thread {first}, round {step}"
            np.testing.assert_array_equal(found.labels, expected[index].labels, err_msg=what)
            np.testing.assert_array_equal(found.probabilities, expected[index].probabilities, err_msg=what)

    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(work, index) for index in range(threads)]:
            done.result()
    return f"{threads} threads, {threads * rounds} volumes, bit for bit as one thread"


def check_growth(segmenter: Segmenter, batch_size: int, windows: int, readers: dict[str, Reader]) -> str:
    """So many windows, in batches of every size up to the segmenter's batch_size in turn: memory is flat."""
    volumes = [volume_of(segmenter, count + 1) for count in range(batch_size)]
    runs = -(-windows // sum(range(batch_size + 1))) * batch_size
    grown = check_flat(lambda index: segmenter.run(volumes[index % batch_size]), runs, readers)
    growth = ", ".join(f"{name} {size:+d} bytes" for name, size in grown.items())
    return f"{runs} runs, batches of 1 to {batch_size} windows in turn: {growth}"


def check_agreement(found: np.ndarray, expected: np.ndarray, least: float) -> str:
    """At least this share of voxels has the same label, and there is more than one label."""
    assert len(np.unique(expected)) > 1, "the reference has one label only: nothing is compared"
    alike = float(np.mean(found == expected))
    different = int((found != expected).sum())
    assert alike >= least, (
        f"{different} of {expected.size} voxels are labelled otherwise: {alike:.4%} alike, at least "
        f"{least:.2%} expected"
    )
    return f"{different} of {expected.size} voxels labelled otherwise"


def check_refusals(artifact: Path) -> str:
    """A bit flipped, the end cut off and an edited manifest are each refused before the file is run."""
    damages = {
        "a flipped bit": (flip_bit, "is not the file its manifest describes"),
        "a cut end": (cut_end, "is not the file its manifest describes"),
        "an edited manifest": (edit_manifest, "was edited"),
    }
    for damage, words in damages.values():
        refused(artifact, damage, ArtifactError, words)
    return f"refused: {', '.join(damages)}"


def check_other_version(engine: Path) -> str:
    """An engine that another TensorRT built is refused with a sentence that names both versions."""
    return refused(engine, rebuilt_elsewhere, MsdkError, "needs TensorRT exactly 9.9.9.9, this is")


def refused(artifact: Path, damage: Callable[[Path], None], kind: type[MsdkError], words: str) -> str:
    """The sentence that a Segmenter over a damaged copy fails with."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(shutil.copy(artifact, folder))
        shutil.copy(manifest_path(artifact), folder)
        damage(copy)
        sentence = sentence_of(kind, copy).replace(f"{folder}/", "")
    assert words in sentence, f"{damage.__name__}: {sentence or 'it was not refused'}"
    return sentence


def sentence_of(kind: type[MsdkError], artifact: Path) -> str:
    """Return the sentence that a Segmenter over the artifact fails with, or nothing."""
    try:
        Segmenter(artifact).close()
    except kind as error:
        return str(error)
    return ""


def flip_bit(copy: Path) -> None:
    content = bytearray(copy.read_bytes())
    content[len(content) // 2] ^= 1
    copy.write_bytes(content)


def cut_end(copy: Path) -> None:
    copy.write_bytes(copy.read_bytes()[:-100])


def edit_manifest(copy: Path) -> None:
    manifest = manifest_path(copy)
    manifest.write_text(manifest.read_text().replace('"created_by": "', '"created_by": "not '))


def rebuilt_elsewhere(copy: Path) -> None:
    manifest = read_manifest(copy)
    engine = manifest.engine | {"tensorrt": "9.9.9.9"}
    write_manifest(copy, dataclasses.replace(manifest, engine=engine, sha256=sha256_of(copy)))

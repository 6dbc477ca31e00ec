"""A mutated file ends in an MsdkError or, where the mutation did no harm, in a result: no signal, no hang, no
exception of another kind. A file that the hash covers is refused before ONNX Runtime is even imported.

A mutation is a function of its kind and index: `python -m tests.reliability.fuzzing KIND INDEX
FOLDER` writes its files into FOLDER and tries them again.
"""

import argparse
import contextlib
import gzip
import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx

from tests.attacks import graphs, manifests
from tests.reliability.attacks import MODULES, honest_folder
from tests.reliability.report import Row
from tests.reliability.sandbox import Outcome, Sandbox
from tests.support.small_model import describe

SEED = 2026
FULL, QUICK = 1000, 30
LIGHT = ("msdk_rt.segmenter",)  # without ONNX Runtime
FOUND: list[str] = []
INTERESTING = [number for bits in (0, 7, 8, 15, 16, 31, 32, 63) for number in ((1 << bits) - 1, 1 << bits)]
JUNK = (None, True, -1, 0, 1.5, 1 << 70, float("nan"), "", "a" * 300, "\0", [], [[]], {}, {"": 1}, [0, 0, 0])


def mutated(content: bytes, rng: np.random.Generator) -> bytes:
    """The content with bits flipped, numbers put in, spans made noise; or with spans cut, doubled, cut off.

    Half of the mutations keep the length, so that the framing around them stays and they reach further in.
    """
    data = bytearray(content)
    framed = rng.random() < 0.5
    for _ in range(rng.integers(1, 3 if framed else 5)):
        start = int(rng.integers(len(data) + 1))
        if rng.random() < 0.3:  # where formats keep their numbers
            start = min(start, int(rng.integers(400)))
        span = int(rng.integers(1, 33))
        match rng.integers(3 if framed else 6):
            case 0:
                for place in rng.integers(start, start + span, rng.integers(1, 9)):
                    if place < len(data):
                        data[place] ^= 1 << rng.integers(8)
            case 1:
                width = int(rng.choice([1, 2, 4, 8]))
                number = INTERESTING[rng.integers(len(INTERESTING))] & ((1 << 8 * width) - 1)
                data[start : start + width] = number.to_bytes(width, "little")[: len(data) - start]
            case 2:
                span = min(span, len(data) - start)
                data[start : start + span] = rng.bytes(span)
            case 3:
                del data[start : start + span]
            case 4:
                data[start:start] = data[start : start + span] * int(rng.integers(1, 4))
            case 5 if rng.random() < 0.3:
                del data[start:]
    return bytes(data)


def mutate_graph(path: Path, rng: np.random.Generator) -> None:
    """Other inputs, attributes or type of a node, other sides or type of an initialiser, in a sound file."""
    model = onnx.load(path)
    graph = model.graph
    for _ in range(rng.integers(1, 4)):
        node = graph.node[rng.integers(len(graph.node))]
        number = INTERESTING[rng.integers(len(INTERESTING))] % (1 << 63) * int(rng.choice([1, -1]))
        names = [
            "",
            "image",
            *(n for other in graph.node for n in other.output),
            *(t.name for t in graph.initializer),
        ]
        match rng.integers(5):
            case 0:
                node.input[rng.integers(len(node.input))] = str(rng.choice(names))
            case 1:
                node.op_type = graph.node[rng.integers(len(graph.node))].op_type
            case 2 if node.attribute:
                attribute = node.attribute[rng.integers(len(node.attribute))]
                attribute.i, attribute.f, attribute.s = number, float(number), mutated(attribute.s, rng)
                attribute.type = rng.choice([attribute.type, 1, 2, 3])
            case 3:
                tensor = graph.initializer[rng.integers(len(graph.initializer))]
                tensor.dims[rng.integers(len(tensor.dims))] = number
            case 4:
                tensor = graph.initializer[rng.integers(len(graph.initializer))]
                tensor.data_type = rng.integers(0, 25)
    path.write_bytes(model.SerializeToString())


def mutate_file(path: Path, rng: np.random.Generator) -> None:
    path.write_bytes(mutated(path.read_bytes(), rng))


def hashed_onnx(folder: Path, rng: np.random.Generator) -> tuple[str, ...]:
    content = (folder / "model.onnx").read_bytes()
    while (folder / "model.onnx").read_bytes() == content:
        mutate_file(folder / "model.onnx", rng)
    return "tests.attacks.actions:segment", "model.onnx", "scan.nii"


def rehashed_onnx(folder: Path, rng: np.random.Generator) -> tuple[str, ...]:
    """Bytes, or a sound graph of other nodes and weights."""
    mutate = mutate_file if rng.random() < 0.5 else mutate_graph
    mutate(folder / "model.onnx", rng)
    describe(folder / "model.onnx")
    return "tests.attacks.actions:segment", "model.onnx", "scan.nii"


def manifest(folder: Path, rng: np.random.Generator) -> tuple[str, ...]:
    """Bytes, or values of a manifest that is sealed again."""
    if rng.random() < 0.5:
        mutate_file(folder / "model.onnx.json", rng)
    else:
        entries = manifests.entries(folder)
        names = rng.choice([name for name in entries if name != manifests.SEAL], rng.integers(1, 3), False)
        manifests.seal(folder, **{name: JUNK[rng.integers(len(JUNK))] for name in names})
    return "tests.attacks.actions:segment", "model.onnx", "scan.nii"


def checkpoint(folder: Path, rng: np.random.Generator) -> tuple[str, ...]:
    name = str(rng.choice(["weights.safetensors", "weights.pt", "legacy.pt"]))
    mutate_file(folder / name, rng)
    return "tests.attacks.actions:load", name


def volume(folder: Path, rng: np.random.Generator) -> tuple[str, ...]:
    """Bytes of a .nii, of a .nii.gz, or of what a .nii.gz unpacks to."""
    path = folder / str(rng.choice(["scan.nii", "scan.nii.gz"]))
    if path.suffix == ".gz" and rng.random() < 0.5:
        path.write_bytes(gzip.compress(mutated(gzip.decompress(path.read_bytes()), rng)))
    else:
        mutate_file(path, rng)
    return "tests.attacks.actions:segment", "model.onnx", path.name


KINDS: dict[str, Callable[[Path, np.random.Generator], tuple[str, ...]]] = {
    "hashed_onnx": hashed_onnx,
    "rehashed_onnx": rehashed_onnx,
    "manifest": manifest,
    "checkpoint": checkpoint,
    "volume": volume,
}
TITLES = {
    "hashed_onnx": "an .onnx, refused before ONNX Runtime is imported",
    "rehashed_onnx": "an .onnx, its manifest made for the mutation",
    "manifest": "a manifest, half of them sealed again",
    "checkpoint": "a checkpoint (.safetensors, .pt, .pt of the old format)",
    "volume": "a volume (.nii, .nii.gz)",
}


@contextlib.contextmanager
def seeds() -> Iterator[Path]:
    """A folder of what is mutated: a graph of msdk ops with their bodies, a manifest, checkpoints, scans."""
    import safetensors.torch
    import torch

    from msdk_export.graph.functions import attach_functions

    with tempfile.TemporaryDirectory(prefix="msdk-fuzzing-") as place:
        folder = honest_folder(Path(place, "seeds"))
        directions = {"directions": "forward,slices:7:backward"}
        graphs.network(folder, conv=directions, scan=directions | {"scale": 0.5})
        graph = attach_functions(onnx.load(folder / "model.onnx"))
        (folder / "model.onnx").write_bytes(graph.SerializeToString())
        describe(folder / "model.onnx")
        weights = safetensors.torch.load_file(folder / "weights.safetensors")
        torch.save(weights, folder / "weights.pt")
        torch.save(weights, folder / "legacy.pt", _use_new_zipfile_serialization=False)
        (folder / "scan.nii.gz").write_bytes(gzip.compress((folder / "scan.nii").read_bytes()))
        yield folder


def attempt(kind: str, index: int, source: Path, folder: Path, sandbox: Sandbox) -> tuple[Outcome, str]:
    """The outcome of one mutation, made in `folder` from the seeds, and the promise it broke, "" for none."""
    shutil.copytree(source, folder)
    action, *names = KINDS[kind](folder, np.random.default_rng([SEED, list(KINDS).index(kind), index]))
    outcome = sandbox.run(action, folder, *names)
    if outcome.result not in ("done", "refused"):
        return outcome, f"{outcome.result} {outcome.error}: {outcome.message[:300]}"
    if kind == "hashed_onnx" and (outcome.error != "ArtifactError" or "onnxruntime" in outcome.modules):
        return outcome, f"{outcome.result} {outcome.error}, with {outcome.modules}"
    return outcome, ""


def fuzz(kind: str, count: int, source: Path) -> Row:
    ends: Counter[str] = Counter()
    failures = 0
    modules = LIGHT if kind == "hashed_onnx" else MODULES
    with Sandbox(modules) as sandbox, tempfile.TemporaryDirectory(prefix="msdk-mutation-") as place:
        for index in range(count):
            folder = Path(place, str(index))
            outcome, broken = attempt(kind, index, source, folder, sandbox)
            shutil.rmtree(folder)
            ends[outcome.error or "taken"] += 1
            if broken:
                failures += 1
                print(f"  {kind} {index}: {broken}", flush=True)
    return Row(TITLES[kind], count, failures, ", ".join(f"{n} {end}" for end, n in ends.most_common()))


def main(quick: bool) -> Iterator[Row]:
    with seeds() as source:
        for kind in KINDS:
            yield fuzz(kind, QUICK if quick else FULL, source)


def replay() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.reliability.fuzzing")
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("index", type=int)
    parser.add_argument("folder", type=Path, help="a new one, for the mutated files")
    options = parser.parse_args()
    with seeds() as source, Sandbox(LIGHT if options.kind == "hashed_onnx" else MODULES) as sandbox:
        outcome, broken = attempt(options.kind, options.index, source, options.folder, sandbox)
    print(json.dumps(vars(outcome), indent=2), broken or "as promised", sep="\n")


if __name__ == "__main__":
    replay()

"""Each attack of [tests/attacks](../../tests/attacks) ends in an MsdkError with one sentence that says what
to do, or in a result where the file is legal. It takes at most 2 s of processor time and 500 MB of memory
beyond the imports, and leaves nothing behind in the folder.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.attacks import checkpoints, engines, graphs, manifests, onnx_files, volume_files, volumes
from tests.attacks.corpus import Attack
from tests.reliability.report import Row
from tests.reliability.sandbox import Outcome, Sandbox
from tests.support.small_model import write_artifact
from tests.support.spheres import TINY

KINDS = {
    "headers of volumes": volumes,
    "files of volumes": volume_files,
    "manifests": manifests,
    "engines": engines,
    "graphs of our ops, with a valid manifest": graphs,
    ".onnx files, with a valid manifest": onnx_files,
    "checkpoints": checkpoints,
}
CORPUS = [attack for module in KINDS.values() for attack in module.SERIES.attacks]
MOST_SECONDS, MOST_MB, LONGEST = 2.0, 500.0, 1500
MODULES = (
    "msdk_rt.segmenter",
    "msdk_rt.backends.onnxruntime",
    "msdk_export.onnx_export",
    "msdk_export.samples",
    "torch._dynamo",  # which a first network on the meta device imports
)
FOUND = [
    "A header of a few bytes that named 2 GB made nibabel take 2 GB before it read the file; a compressed"
    " one of 64 GB would have ended the process. Voxels are now read into memory that only the file can "
    "fill, and what the machine cannot hold is refused with both numbers.",
    "OverflowError left `read_volume` for negative and 64-bit dimensions and for a vox_offset of 1e30.",
    "A .nii.gz cut within its trailing checksum was segmented as if whole.",
    "A scan whose attribute `directions` had the wrong type, a list for example, ran with the default "
    "directions: a wrong result without a word. The ops now name the attribute.",
    "An .onnx could keep its weights in another file, which no hash covers; loop without end; and inline "
    "functions that double one another 40 times. All three are refused before ONNX Runtime reads the "
    "file.",
    "A window of 4096 voxels a side asked for 256 GiB before the graph was compared with the manifest.",
    "A manifest with two values for one key was read as the last of them; one of 1 TB, or a link to an "
    "endless device, was read to the end of the memory; an .onnx renamed to .engine was run.",
    "A checkpoint whose description names a network of 2^31 channels, or a million blocks, was built "
    "before it was compared with the weights. Sparse, quantised and meta tensors, and a tensor of 2^40 "
    "elements by strides of 0, left the exporter as PyTorch's errors. A zip of 600 kB could unpack to "
    "gigabytes.",
    "Messages could repeat megabytes of a hostile file; they are cut.",
]


def honest_folder(folder: Path) -> Path:
    """Make the files that attacks change: model.onnx with its manifest, scan.nii, weights.safetensors."""
    import torch

    from msdk_export import save_checkpoint
    from msdk_export.models import MSDKMamba, MSDKMambaConfig

    folder.mkdir(parents=True, exist_ok=True)
    write_artifact(folder / "model.onnx")
    volumes.write(folder, volumes.scan())
    torch.manual_seed(0)
    network = MSDKMamba(MSDKMambaConfig(in_channels=1, num_classes=2, **TINY))
    save_checkpoint(folder / "weights.safetensors", network)
    return folder


def commit(attack: Attack, honest: Path, sandbox: Sandbox) -> tuple[Outcome, str]:
    """The attack's outcome, and the promise that it broke, "" for none."""
    with tempfile.TemporaryDirectory(prefix="msdk-attack-") as place:
        folder = Path(place, "folder")
        shutil.copytree(honest, folder)
        attack.prepare(folder)
        before = set(os.listdir(folder))
        outcome = sandbox.run(attack.action, folder, *attack.arguments)
        return outcome, _broken(attack, outcome, sorted(set(os.listdir(folder)) - before))


def _broken(attack: Attack, outcome: Outcome, left: list[str]) -> str:
    said = f"{outcome.result} {outcome.error}: {outcome.message[:500]}"
    if (outcome.result, outcome.error) != (("refused", attack.refusal) if attack.refusal else ("done", "")):
        return f"expected {attack.refusal or 'a result'}, {said}"
    if outcome.result == "refused" and not 20 < len(outcome.message) < LONGEST:
        return f"the message has {len(outcome.message)} characters: {said}"
    if outcome.seconds > MOST_SECONDS:
        return f"took {outcome.seconds:.1f} s, {said}"
    if outcome.extra_mb > MOST_MB:
        return f"took {outcome.extra_mb:.0f} MB, {said}"
    if left != ([] if attack.refusal else ["out.nii.gz"]):
        return f"left {left}, {said}"
    return ""


def main(quick: bool) -> Iterator[Row]:
    with tempfile.TemporaryDirectory(prefix="msdk-attacks-") as place, Sandbox(MODULES) as sandbox:
        honest = honest_folder(Path(place, "honest"))
        for kind, module in KINDS.items():
            ended = {attack: commit(attack, honest, sandbox) for attack in module.SERIES.attacks}
            for attack, (_, broken) in ended.items():
                if broken:
                    print(f"  {attack.number} {attack.sentence} {broken}", flush=True)
            outcomes = [outcome for outcome, _ in ended.values()]
            refused = sum(outcome.result == "refused" for outcome in outcomes)
            most = max(outcome.extra_mb for outcome in outcomes)
            slowest = max(outcome.seconds for outcome in outcomes)
            yield Row(
                kind,
                len(outcomes),
                sum(bool(broken) for _, broken in ended.values()),
                f"{refused} refused, the others legal; at most {slowest:.1f} s and {most:.0f} MB",
            )

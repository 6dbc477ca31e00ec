"""A process killed with SIGKILL at a random moment leaves no half file under a final name; the same command
then ends with the files of one that ran through, byte for byte, and removes what the kill left half-written.
"""

import random
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np

from msdk_rt.artifact.files import LEFTOVERS
from msdk_rt.artifact.manifest import read_manifest
from msdk_rt.errors import ArtifactError
from tests.reliability.report import Row
from tests.reliability.sandbox import Sandbox
from tests.support.small_model import write_artifact
from tests.support.spheres import TINY, decathlon

SEED = 7
MODULES = (
    "msdk_rt.commands.main",
    "msdk_rt.cohort.run",
    "msdk_rt.backends.onnxruntime",
    "msdk_export.onnx_export",
    # modules that PyTorch's exporter would import again in every child
    "onnxscript",
    "sympy",
    "torch._dynamo",
    "torch.onnx._internal.exporter._core",
    "msdk_export.training.run",
)
KILLS = {"export": 80, "run": 80, "train": 40}
QUICK_KILLS = {"export": 3, "run": 3, "train": 1}
IN_A_ROW = 4  # kills before the command may end
PATIENCE = 300.0
MOST_FAILURES = 10
VOLUMES = 4
FOUND = [
    "Half-written `.part` files and an export's working folder stayed for ever after a kill. They now "
    "carry a lock that ends with their process, and the next command in that folder removes those that "
    "nobody holds.",
    "A result that another program or a copy had cut was kept as finished. It is now opened, compared "
    "with the space of its input, and segmented again with a line that says why.",
    "SIGTERM, which a shutdown sends, left what it interrupted half-written. It now ends a command as "
    "Ctrl-C does.",
]


@dataclass(frozen=True)
class Work:
    """A command to be killed. half(out, whole): names that a half file stands under. same: files to equal."""

    action: str
    arguments: tuple
    half: Callable[[Path, Path], list[str]]
    same: Sequence[str]


def run_folder(model: str, scans: str, out: str) -> None:
    from msdk_rt.commands.main import parser

    options = parser().parse_args(["run", model, scans, "-o", out, "--quiet", "--threads", "1"])
    assert options.command(options) == 0


def export_network(out: str) -> None:
    """A small network of PyTorch's own layers; what is killed is the same as for a large one."""
    import torch

    import msdk_rt

    torch.manual_seed(0)
    network = torch.nn.Conv3d(1, 2, 3, padding=1).eval()
    sample = np.random.default_rng(0).standard_normal((1, 8, 8, 8)).astype(np.float32)
    labels = {"background": 0, "lesion": 1}
    path = Path(out, "model.onnx")
    msdk_rt.export(network, path, window=(8, 8, 8), channels=["t1"], labels=labels, sample=sample)


def train_network(data: str, out: str) -> None:
    from msdk_export.training.run import train
    from msdk_export.training.settings import TrainingSettings

    settings = TrainingSettings(
        steps=6,
        window=(16, 16, 16),
        batch_size=1,
        network=TINY,
        warmup_steps=2,
        validate_every=3,
        save_every=2,
        log_every=2,
        overlap=0.0,
        seed=3,
        threads=1,
        device="cpu",
    )
    train(data, out, settings)


def _half_results(out: Path, whole: Path) -> list[str]:
    """Labels that are not those of a run that went through."""
    return [p.name for p in out.glob("*.nii.gz") if p.read_bytes() != (whole / p.name).read_bytes()]


def _half_artifact(out: Path, whole: Path) -> list[str]:
    """Return the differences of a pair that would be taken from the whole one; a hash refuses half a pair."""
    try:
        read_manifest(out / "model.onnx")
    except ArtifactError:
        return []
    return [p.name for p in out.glob("model.*") if p.read_bytes() != (whole / p.name).read_bytes()]


def _half_checkpoints(out: Path, whole: Path) -> list[str]:
    """Files that cannot be read; which step they are of is the kill's doing."""
    return [path.name for path in [*out.glob("*.safetensors"), *out.glob("*.pt")] if not _is_readable(path)]


def _is_readable(path: Path) -> bool:
    import torch

    from msdk_export.checkpoints import load_checkpoint

    try:
        load_checkpoint(path) if path.suffix == ".safetensors" else torch.load(path, weights_only=True)
    except Exception:  # whatever half a file makes of the reader
        return False
    return True


def works(place: Path) -> dict[str, Work]:
    """The three commands and what they work on, written into `place`."""
    model = write_artifact(place / "model.onnx")
    (place / "scans").mkdir()
    for index in range(VOLUMES):
        voxels = np.random.default_rng(index).gamma(2, 100, (40, 38, 36)).astype(np.float32)
        nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), place / "scans" / f"{index}.nii")
    results = [f"{index}.nii.gz" for index in range(VOLUMES)]
    module = "tests.reliability.kills"
    return {
        "export": Work(f"{module}:export_network", (), _half_artifact, ["model.onnx", "model.onnx.json"]),
        "run": Work(f"{module}:run_folder", (model, place / "scans"), _half_results, results),
        "train": Work(
            f"{module}:train_network",
            (decathlon(place / "data", cases=3),),
            _half_checkpoints,
            ["best.safetensors", "last.safetensors"],
        ),
    }


def campaign(name: str, work: Work, kills: int, sandbox: Sandbox, place: Path) -> Row:
    """Kill, look, go on, `kills` times; after IN_A_ROW kills at most the command may end and is compared."""
    moments = random.Random(f"{SEED} {name}")
    whole = place / f"{name}-whole"
    length = min(_seconds(work, sandbox, whole), _seconds(work, sandbox, place / f"{name}-again"))
    counts: Counter[str] = Counter()
    out = place / f"{name}-killed"
    while counts["kills"] < kills and counts["failures"] < MOST_FAILURES:
        out.mkdir()
        for _ in range(min(IN_A_ROW, kills - counts["kills"])):
            outcome = sandbox.run(work.action, *work.arguments, out, seconds=moments.uniform(0, 1) * length)
            half = work.half(out, whole)
            counts["left"] += len(list(out.glob(LEFTOVERS)))
            if outcome.result not in ("hung", "done") or half:
                counts["failures"] += 1
                print(f"  {name}: {outcome.result} {outcome.message[:300]}, half: {half}", flush=True)
            if outcome.result != "hung":  # it ended first: the machine is quicker than it was
                length *= 0.8
                break
            counts["kills"] += 1
        outcome = sandbox.run(work.action, *work.arguments, out, seconds=PATIENCE)
        differing = [n for n in work.same if (out / n).read_bytes() != (whole / n).read_bytes()]
        remaining = [path.name for path in out.glob(LEFTOVERS)]
        if outcome.result != "done" or differing or remaining:
            counts["failures"] += 1
            print(f"  {name}: {outcome.message[:300]}, differing: {differing}, left: {remaining}", flush=True)
        counts["resumed"] += 1
        shutil.rmtree(out)
    return Row(
        name,
        counts["kills"],
        counts["failures"],
        f"{counts['left']} half-written .part files seen after a kill; {counts['resumed']} commands went on "
        "to the end",
    )


def _seconds(work: Work, sandbox: Sandbox, out: Path) -> float:
    """How long the command takes when left alone."""
    out.mkdir()
    started = time.monotonic()
    outcome = sandbox.run(work.action, *work.arguments, out, seconds=PATIENCE)
    assert outcome.result == "done", outcome
    return time.monotonic() - started


def main(quick: bool) -> Iterator[Row]:
    with tempfile.TemporaryDirectory(prefix="msdk-kills-") as place, Sandbox(MODULES) as sandbox:
        for name, work in works(Path(place)).items():
            yield campaign(name, work, (QUICK_KILLS if quick else KILLS)[name], sandbox, Path(place))

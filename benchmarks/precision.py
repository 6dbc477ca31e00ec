"""How many labels does float16 change? float16 artifacts against float32 ones, on 20 volumes of two networks.

No GPU is needed: every layer's output is rounded to float16 as a GPU would
(msdk_export.graph.precision_check), sums are in float32. The volumes are those of benchmarks.accuracy: the
MNI152 T1 and 19 random draws of it. SegMamba's own weights are not available here, so a narrow one is fitted
for a few minutes to other draws.
"""

import argparse
import dataclasses
import tempfile
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import nn
from tqdm import trange

from benchmarks import accuracy_report
from benchmarks.accuracy import TISSUES, template_at_2_mm, template_itself
from benchmarks.measure import record
from msdk_export.checkpoints import build_model, load_checkpoint
from msdk_export.demo_network import OWN_WEIGHTS
from msdk_export.description import ModelDescription, describe
from msdk_export.graph.precision_check import simulated
from msdk_export.graph.trace import to_onnx
from msdk_export.models import SegMamba, SegMambaConfig
from msdk_export.synthetic.template import CLASSES, Template, load_template
from msdk_rt import Segmenter, export
from msdk_rt.artifact.manifest import read_manifest, sha256_of, write_manifest
from msdk_rt.inference.labels import dice
from msdk_rt.inference.normalisation import normalize

QUESTION = "precision"
VOLUMES = 20
SEED = 20261125
FITTING_SEED = 1_000
LEAST_AGREEMENT, LEAST_DICE = 0.999, 0.998
SEGMAMBA_WINDOW = (64, 64, 64)


def main(arguments: list[str] = ()) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.precision", description=__doc__)
    parser.add_argument("--steps", type=int, default=200, help="of SegMamba's fitting (%(default)s)")
    steps = parser.parse_args(arguments).steps
    template = load_template()
    volumes = [template_itself(template).image]
    volumes += [template_at_2_mm(template, SEED + draw).image for draw in range(VOLUMES - 1)]
    worst = [
        _judge("MSD-KMamba, the demo's weights", *demo(), volumes),
        _judge(f"SegMamba, narrow, {steps} steps of training", *_fitted_segmamba(template, steps), volumes),
    ]
    accuracy_report.write()
    if min(agreement for agreement, _ in worst) < LEAST_AGREEMENT or min(d for _, d in worst) < LEAST_DICE:
        raise SystemExit(f"below {LEAST_AGREEMENT:.1%} of labels alike or a Dice of {LEAST_DICE}")


def _judge(
    case: str, network: nn.Module, description: ModelDescription, volumes: list[np.ndarray]
) -> tuple[float, float]:
    """Compare the precisions on the volumes and record it: (least share of labels alike, least Dice)."""
    agreements, scores = [], {tissue: [] for tissue in TISSUES}
    with tempfile.TemporaryDirectory() as folder:
        exact, rounded = _artifacts(network, description, Path(folder))
        with Segmenter(exact) as reference, Segmenter(rounded) as halved:
            for volume in volumes:
                expected, found = reference.run(volume[None]), halved.run(volume[None])
                agreements.append(float(np.mean(expected == found)))
                for tissue, score in dice(found, expected, TISSUES).items():
                    scores[tissue].append(score)
    print(f"{case}: labels alike, least {min(agreements):.4%}, mean {np.mean(agreements):.4%}", flush=True)
    least = {"labels alike": min(agreements)} | {tissue: min(scores[tissue]) for tissue in TISSUES}
    mean = {"labels alike": np.mean(agreements)} | {tissue: np.mean(scores[tissue]) for tissue in TISSUES}
    record(QUESTION, f"{case}, mean", mean, "")
    record(QUESTION, f"{case}, worst", least, "")
    return min(agreements), min(map(min, scores.values()))


def _artifacts(network: nn.Module, description: ModelDescription, folder: Path) -> tuple[Path, Path]:
    """The float32 artifact, and one that computes as the float16 artifact does on a GPU."""
    exact, rounded = folder / "float32.onnx", folder / "float16.onnx"
    export_alone(network, description, exact)
    return exact, write_simulated(to_onnx(network, description, "float16"), exact, rounded)


def export_alone(network: nn.Module, description: ModelDescription, path: Path) -> None:
    """The network without a brain mask."""
    names = ("window", "channels", "labels", "activation", "normalization")
    export(network, path, **{name: getattr(description, name) for name in names})


def write_simulated(model: onnx.ModelProto, exact: Path, path: Path) -> Path:
    """An artifact that computes as a float16 model does on a GPU, described like the float32 one."""
    path.write_bytes(simulated(model).SerializeToString())
    write_manifest(path, dataclasses.replace(read_manifest(exact), sha256=sha256_of(path)))
    return path


def demo() -> tuple[nn.Module, ModelDescription]:
    weights, description = load_checkpoint(OWN_WEIGHTS)
    return build_model(description, weights), describe(description)


def _fitted_segmamba(template: Template, steps: int) -> tuple[nn.Module, ModelDescription]:
    """A narrow SegMamba after a short training on random draws of the template at 2 mm."""
    torch.manual_seed(0)
    network = SegMamba(SegMambaConfig(1, len(CLASSES), (16, 32, 64, 128), (1, 1, 1, 1), 128))
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=steps)
    generator = np.random.default_rng(0)
    for step in trange(steps, desc="fit SegMamba"):
        if step % 10 == 0:
            judged = template_at_2_mm(template, FITTING_SEED + step)
            image = normalize(judged.image[None].astype(np.float32))
        windows = [_random_window(generator, image.shape[1:]) for _ in range(2)]
        images = torch.from_numpy(np.stack([image[(slice(None), *window)] for window in windows]))
        labels = torch.from_numpy(np.stack([judged.reference[window] for window in windows])).long()
        loss = nn.functional.cross_entropy(network(images), labels)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        schedule.step()
    labels = {name: value for value, name in enumerate(CLASSES)}
    entries = {"family": "segmamba", "config": {}, "window": SEGMAMBA_WINDOW, "channels": ("t1",)}
    return network.eval().requires_grad_(False), describe(entries | {"labels": labels})


def _random_window(generator: np.random.Generator, shape: tuple[int, ...]) -> tuple[slice, ...]:
    starts = [
        generator.integers(0, size - side + 1) for size, side in zip(shape, SEGMAMBA_WINDOW, strict=True)
    ]
    return tuple(slice(start, start + side) for start, side in zip(starts, SEGMAMBA_WINDOW, strict=True))


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])

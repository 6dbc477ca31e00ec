"""Does self-distillation help? The demo network trained with and without it, same seeds, same budget.

Both sides keep the supervision of every head; only the two distillation terms differ.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np

from benchmarks import accuracy_report
from benchmarks.accuracy import Judged, colin27, synthetic, template_at_2_mm, template_itself, tissue_dice
from benchmarks.measure import record
from msdk_export.synthetic.dataset import case_seeds, write_dataset
from msdk_export.synthetic.template import Template, load_template
from msdk_export.training.distillation import DistillationWeights
from msdk_export.training.run import train
from msdk_export.training.settings import TrainingSettings
from msdk_rt import Segmenter, export

QUESTION = "ablation"
SIDES = {
    "self-distillation": DistillationWeights(),
    "supervision alone": DistillationWeights(distillation=0, feature=0),
}
CASES, HELD_OUT = 24, 4
HELD_OUT_SEED = 1_000_000


def main(arguments: list[str] = ()) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.ablation",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--folder", type=Path, default=Path("build/ablation"), help="data, runs (%(default)s)"
    )
    parser.add_argument("--steps", type=int, default=250, help="of each run (%(default)s)")
    parser.add_argument("--seeds", type=int, default=3, help="runs of each side (%(default)s)")
    parser.add_argument(
        "--colin27", type=Path, metavar="FOLDER", help="see python -m benchmarks.demo_accuracy"
    )
    options = parser.parse_args(arguments)
    write_dataset(options.folder / "data", CASES, validation=1, seed=0, workers=2)
    volumes = _volumes(load_template(), options.colin27)
    for seed in range(options.seeds):
        for side, weights in SIDES.items():
            settings = TrainingSettings(
                steps=options.steps,
                window=(48, 48, 48),
                batch_size=1,
                learning_rate=2e-3,
                warmup_steps=options.steps // 10,
                ema_decay=0.98,
                validate_every=options.steps,
                overlap=0.0,
                threads=1,
                seed=seed,
                distillation=weights,
            )
            out = options.folder / f"{side.replace(' ', '-')}-{seed}"
            checkpoint = train(options.folder / "data", out, settings, progress=True).last
            for where, scores in _judge(checkpoint, volumes).items():
                print(f"seed {seed}, {side}, {where}: {scores}", flush=True)
                for tissue, value in scores.items():
                    case = f"{where}, {tissue}, {options.steps} steps"
                    record(QUESTION, case, {f"{side}, seed {seed}": value}, "Dice")
    accuracy_report.write()


def _judge(checkpoint: Path, volumes: dict[str, list[Judged]]) -> dict[str, dict[str, float]]:
    """Mean Dice of each tissue over the volumes of every kind."""
    with tempfile.TemporaryDirectory() as folder:
        artifact = Path(folder) / "model.onnx"
        export(checkpoint, artifact)
        with Segmenter(artifact, overlap=0.0, threads=1) as segmenter:
            means = {}
            for where, kind in volumes.items():
                scores = [tissue_dice(segmenter.run(judged.image[None]), judged) for judged in kind]
                means[where] = {
                    tissue: float(np.mean([score[tissue] for score in scores])) for tissue in scores[0]
                }
            return means


def _volumes(template: Template, colin: Path | None) -> dict[str, list[Judged]]:
    volumes = {
        "held-out synthetic": list(synthetic(template, case_seeds(HELD_OUT_SEED, HELD_OUT))),
        "MNI152 T1, random at 2 mm": [
            template_at_2_mm(template, HELD_OUT_SEED + draw) for draw in range(HELD_OUT)
        ],
        "MNI152 T1": [template_itself(template)],
    }
    return volumes | ({"Colin27": [colin27(colin)]} if colin else {})


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])

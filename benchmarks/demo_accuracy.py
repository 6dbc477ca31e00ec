"""Does the demo network segment a brain? Dice of the exported artifact, and its agreement with PyTorch."""

import argparse
import tempfile
from pathlib import Path

import numpy as np

from benchmarks import accuracy_report
from benchmarks.accuracy import Judged, colin27, template_at_2_mm, template_itself, tissue_dice
from benchmarks.measure import record
from benchmarks.volume import pytorch_labels
from msdk_export.demo_network import OWN_WEIGHTS, export_demo
from msdk_export.synthetic.template import load_template
from msdk_rt import Segmenter

QUESTION = "demo_accuracy"
DRAWS = 20
SEED = 20261124


def main(arguments: list[str] = ()) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.demo_accuracy", description=__doc__)
    parser.add_argument("--weights", type=Path, default=OWN_WEIGHTS, help="checkpoint (%(default)s)")
    parser.add_argument(
        "--colin27",
        type=Path,
        metavar="FOLDER",
        help="with ch2.nii.gz and ch2bet.nii.gz of Debian's package mricron-data: a head no training saw",
    )
    options = parser.parse_args(arguments)
    template = load_template()
    with tempfile.TemporaryDirectory() as folder:
        artifact = Path(folder) / "model.onnx"
        export_demo(artifact, options.weights)
        with Segmenter(artifact) as segmenter:
            whole = _whole_template(segmenter, template_itself(template), options.weights)
            print(f"MNI152 T1, 1 mm: {whole}", flush=True)
            _random_draws(segmenter, template)
            if options.colin27:
                judged = colin27(options.colin27)
                scores = tissue_dice(segmenter.run(judged.image[None], spacing=(1.0,) * 3), judged)
                print(f"Colin27: {scores}")
                record(QUESTION, "Colin27, whole head, against a Gaussian mixture", scores, "Dice")
    accuracy_report.write()


def _whole_template(segmenter: Segmenter, judged: Judged, weights: Path) -> dict[str, float]:
    labels = segmenter.run(judged.image[None], spacing=(1.0,) * 3)
    scores = tissue_dice(labels, judged)
    record(QUESTION, "MNI152 T1, 1 mm", scores, "Dice")
    other = float(np.mean(labels != pytorch_labels(judged.image, weights)))
    record(QUESTION, "MNI152 T1, 1 mm, artifact against PyTorch", {"labels that differ": 100 * other}, "%")
    return scores | {"labels that differ from PyTorch's, %": 100 * other}


def _random_draws(segmenter: Segmenter, template) -> None:
    scores = []
    for draw in range(DRAWS):
        judged = template_at_2_mm(template, SEED + draw)
        scores.append(tissue_dice(segmenter.run(judged.image[None], spacing=(2.0,) * 3), judged))
    for name, reduce in (("mean", np.mean), ("worst", np.min)):
        values = {tissue: float(reduce([score[tissue] for score in scores])) for tissue in scores[0]}
        print(f"MNI152 T1 at 2 mm, {DRAWS} random draws, {name}: {values}", flush=True)
        record(QUESTION, f"MNI152 T1 at 2 mm, {DRAWS} random draws, {name}", values, "Dice")


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])

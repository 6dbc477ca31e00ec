"""Labels beside nnUNetPredictor's on networks that were trained for some hundred steps.

The images are those of tests/support/nnunet_models.py at twice the side: spacings of 0.5 to 5 mm, anisotropy
across the threshold of separate z, sizes below the window, flipped and oblique affines, 1 to 4 channels, MR,
CT and RGB intensities, margins of zeros, regions, folds, mirroring, 2D and 3D. Each is also compared with
nnU-Net's own code whose sums are in float32 instead of float16: what differs there, rounding decides.

    python -m benchmarks.nnunet_agreement [FOLDER]   what FOLDER has of the networks is not trained again
"""

import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

import msdk_rt
from benchmarks import accuracy_report
from benchmarks.measure import record
from tests.support.nnunet_models import CASES, Image, Models, nnunet_labels, write_image

STEPS = 300
LEAST = 0.9999
QUESTION = "nnunet_agreement"
TOTAL = "all cases"
BELOW_THE_WINDOW = ("smaller than the window", "2d, small")
COUNTS = ("voxels", "foreground", "differ", "differ in the foreground", "decided by float16")


def enlarged(name: str) -> Image:
    """The image of the tests with twice as many voxels along each side, unless it is to be small."""
    image = CASES[name]
    if name in BELOW_THE_WINDOW:
        return image
    rest = image.rest | ({"margin": 2 * image.rest["margin"]} if "margin" in image.rest else {})
    return replace(image, shape=tuple(2 * side for side in image.shape), rest=rest)


def compare(name: str, models: Models, folder: Path) -> dict[str, int]:
    """Voxels of one case, by COUNTS. Foreground is what either calls so."""
    image = enlarged(name)
    paths = write_image(folder, image, "case", seed=len(name))
    theirs, _ = nnunet_labels(models.predictor(image.model, image.mirror), paths)
    in_float32, _ = nnunet_labels(models.predictor(image.model, image.mirror, torch.float32), paths)
    with msdk_rt.Segmenter(
        models.artifact(image.model), mirror_axes=None if image.mirror else ()
    ) as segmenter:
        ours = segmenter.run(paths).labels
    foreground, differ = (ours > 0) | (theirs > 0), ours != theirs
    counted = (ours >= 0, foreground, differ, differ & foreground, theirs != in_float32)
    return {what: int(np.count_nonzero(mask)) for what, mask in zip(COUNTS, counted, strict=True)}


def run(folder: Path) -> None:
    models = Models(folder, STEPS)
    total = dict.fromkeys(COUNTS, 0)
    for name in CASES:
        with tempfile.TemporaryDirectory() as place:
            counts = compare(name, models, Path(place))
        total = {what: total[what] + count for what, count in counts.items()}
        print(f"  {name:32}" + ", ".join(f"{what} {count}" for what, count in counts.items()), flush=True)
        record(QUESTION, name, counts, "")
    record(QUESTION, TOTAL, total, "")
    print(f"  foreground alike: {1 - total['differ in the foreground'] / total['foreground']:.4%}")
    accuracy_report.write()
    for what, of in (("differ", "voxels"), ("differ in the foreground", "foreground")):
        if total[what] > (1 - LEAST) * total[of]:
            raise SystemExit(f"below {LEAST:.2%} of labels alike: {what} {total[what]} of {total[of]} {of}")


def main() -> None:
    with tempfile.TemporaryDirectory() as place:
        run(Path(sys.argv[1]) if __name__ == "__main__" and sys.argv[1:] else Path(place))


if __name__ == "__main__":
    main()

"""Every voxel of a whole head whose label is not nnUNetPredictor's with sums in float32: what decides it.

Of the artifact as it is exported, whose sums are nnU-Net's, what differs is counted. The referee is nnU-Net's
own code with network, sums and resampling in float64. A difference is explained where the referee's logits of
the two labels are closer to each other than float16 rounds there. The rounding is measured: it is what
changes when nnU-Net's sums, and nothing else, are in float32.

    python -m benchmarks.nnunet_differences [FOLDER]   with the networks that benchmarks.nnunet keeps there
"""

import shutil
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from benchmarks import accuracy_report, nnunet_cases
from benchmarks.measure import RESULTS, append_rows, record
from msdk_rt import Segmenter
from msdk_rt.artifact.manifest import read_manifest, write_manifest
from tests.support.nnunet_summing import nnunet_predictor

QUESTION = "nnunet_differences"
CASE = "head"
VOXELS = RESULTS / f"{QUESTION}_by_voxel.csv"
COLUMNS = ("z", "y", "x", "ours", "theirs", "our_margin", "float64_margin", "their_margin")
COLUMNS += ("float64_ours", "float64_theirs", "float16_ours", "float16_theirs", "float16_step")


@dataclass(frozen=True)
class Result:
    """logits: (K, Z, Y, X) at the size of the file. labels: (Z, Y, X)."""

    logits: np.ndarray
    labels: np.ndarray


def nnunet(case: nnunet_cases.Case, sums: torch.dtype | None, numbers: torch.dtype = torch.float32) -> Result:
    """What nnU-Net's steps give with sums in these numbers. None: nnUNetPredictor as it is."""
    predictor = nnunet_predictor(sums, numbers)
    predictor.initialize_from_trained_model_folder(str(case.results), (0,))
    plans, configuration = predictor.plans_manager, predictor.configuration_manager
    data, properties = plans.image_reader_writer_class().read_images([str(case.image)])
    prepared, _, properties = configuration.preprocessor_class(verbose=False).run_case_npy(
        data, None, properties, plans, configuration, predictor.dataset_json
    )
    logits = predictor.predict_logits_from_preprocessed_data(torch.from_numpy(prepared))
    cropped = properties["shape_after_cropping_and_before_resampling"]
    full = np.asarray(
        configuration.resampling_fn_probabilities(
            logits, cropped, configuration.spacing, properties["spacing"]
        )
    )
    placed = np.zeros((len(full), *data.shape[1:]), full.dtype)
    box = tuple(slice(*ends) for ends in properties["bbox_used_for_cropping"])
    placed[(slice(None), *box)] = full
    return Result(placed, placed.argmax(0))


def ours(case: nnunet_cases.Case, sums: str) -> tuple[np.ndarray, np.ndarray]:
    """(labels (Z, Y, X), log of the probabilities (K, Z, Y, X), which differ as the logits do).

    sums: of the windows, in a copy of the artifact.
    """
    with tempfile.TemporaryDirectory() as place:
        artifact = Path(shutil.copy(case.artifact, place))
        write_manifest(artifact, replace(read_manifest(case.artifact), sums=sums))
        with Segmenter(artifact, mirror_axes=()) as segmenter:
            found = segmenter.run(case.image, return_probabilities=True)
    assert found.probabilities is not None
    with np.errstate(divide="ignore"):
        return np.asarray(found.labels).T, np.log(np.asarray(found.probabilities).transpose(0, 3, 2, 1))


def run(folder: Path) -> None:
    case = nnunet_cases.make(CASE, folder)
    exported, _ = ours(case, "float16")
    labels, logs = ours(case, "float32")
    own = nnunet(case, None)
    in_float32 = nnunet(case, torch.float32)
    referee = nnunet(case, torch.float64, torch.float64)

    differ = labels != own.labels
    places = np.argwhere(differ)
    at = (places[:, 0], places[:, 1], places[:, 2])
    mine, other = labels[differ], own.labels[differ]

    def margin(logits: np.ndarray) -> np.ndarray:
        return (logits[(mine, *at)] - logits[(other, *at)]).astype(np.float64)

    step = np.spacing(np.abs(own.logits[(other, *at)])).astype(np.float64)
    margins = {"ours": margin(logs), "float64": margin(referee.logits), "theirs": margin(own.logits)}
    rounding = np.abs(own.logits.astype(np.float64) - in_float32.logits)
    bound = rounding[(mine, *at)] + rounding[(other, *at)]
    figures = {
        "voxels": float(labels.size),
        "differ": float(np.count_nonzero(exported != own.labels)),
        "differ, our sums in float32": float(len(places)),
        "differ, all sums in float32": float(np.count_nonzero(labels != in_float32.labels)),
        "ours in float32 are float64's, of those that differ": float(
            np.count_nonzero(mine == referee.labels[differ])
        ),
        "explained by float16": float(np.count_nonzero(np.abs(margins["float64"]) <= bound + 1e-4)),
        "differ from float64, ours in float32": float(np.count_nonzero(labels != referee.labels)),
        "differ from float64, nnU-Net's": float(np.count_nonzero(own.labels != referee.labels)),
        "largest margin in float64": float(np.abs(margins["float64"]).max()),
        "largest error of our margin": float(np.abs(margins["ours"] - margins["float64"]).max()),
        "largest error of their margin": float(np.abs(margins["theirs"] - margins["float64"]).max()),
        "theirs are ties in float16": float(np.count_nonzero(margins["theirs"] == 0)),
        "median step of float16": float(np.median(step)),
    }
    for what, value in figures.items():
        print(f"  {what}: {value:.6g}")
    record(QUESTION, case.title, figures, "")
    rows = zip(
        *places.T,
        mine,
        other,
        margins["ours"],
        margins["float64"],
        margins["theirs"],
        referee.logits[(mine, *at)],
        referee.logits[(other, *at)],
        own.logits[(mine, *at)],
        own.logits[(other, *at)],
        step,
        strict=True,
    )
    append_rows(VOXELS, COLUMNS, [tuple(f"{value:.6g}" for value in row) for row in rows])
    accuracy_report.write()
    if figures["explained by float16"] < len(places):
        raise SystemExit(f"{len(places) - figures['explained by float16']:.0f} voxels are not explained")


def main() -> None:
    with tempfile.TemporaryDirectory() as place:
        run(Path(sys.argv[1]) if __name__ == "__main__" and sys.argv[1:] else Path(place))


if __name__ == "__main__":
    main()

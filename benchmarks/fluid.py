"""What bounds the fluid of a whole head? Where Colin27's differs from the run of its stripped brain.

Every mask is judged by what the network makes of the head inside it, as benchmarks.heads judges the demo.
Also the milliseconds of the mask on that head, with its edge's move and without.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from scipy import ndimage
from sklearn.ensemble import HistGradientBoostingClassifier

from benchmarks import accuracy_report
from benchmarks.accuracy import TISSUES, Judged, colin27_images
from benchmarks.heads import scores_of
from benchmarks.measure import record
from msdk_export.demo_network import export_demo
from msdk_rt import Segmenter
from msdk_rt.inference.brain_mask import find_brain

QUESTION = "fluid"
SPACING = (1.0, 1.0, 1.0)
FLUID = TISSUES["cerebrospinal fluid"]
THRESHOLDS = (0.4, 0.5, 0.6, 0.8)
RIM = 2.0  # mm from the edge of what both masks keep
DEEP = 8.0  # mm
BAND = 8.0  # mm around the mask's edge, in which a fitted mask decides
TISSUE = 0.7  # of the brain's median intensity
AXES = ("left to right", "back to front", "foot to head")
RUNS = 7
ALLOWED = 2.1  # % of the brain's volume that a fitted mask has outside it; not all of it gets a label


def main(arguments: list[str] = ()) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fluid", description=__doc__)
    parser.add_argument(
        "colin27", type=Path, metavar="FOLDER", help="with ch2.nii.gz and ch2bet.nii.gz of mricron-data"
    )
    options = parser.parse_args(arguments)
    head, brain = colin27_images(options.colin27)
    with tempfile.TemporaryDirectory() as folder:
        artifact = Path(folder) / "model.onnx"
        export_demo(artifact)
        with Segmenter(artifact, threads=1) as segmenter:
            _judge(segmenter, head, brain)
    accuracy_report.write()


def _judge(segmenter: Segmenter, head: np.ndarray, brain: np.ndarray) -> None:
    given = brain > 0
    entry = segmenter.manifest.brain_mask
    bare = {name: value for name, value in entry.items() if name != "edge"}
    _say("milliseconds", _milliseconds(entry, bare, head))
    _say("rays that meet tissue first", _rays(head, given))
    judged = Judged(head, _inside(segmenter, head, given), given)
    ours = find_brain(entry, head, SPACING)
    labels = segmenter.run(head[None], spacing=SPACING)
    _say("voxels", _shares(labels, judged, ours))
    _say("as it is", scores_of(labels, judged))
    mask = find_brain(bare, head, SPACING)
    _say("without the edge's move", scores_of(_inside(segmenter, head, mask), judged))
    _say("the stripped run, cut by ours", scores_of(np.where(ours & given, judged.reference, 0), judged))
    _say("the head inside either mask", scores_of(_inside(segmenter, head, given | ours), judged))
    for threshold in THRESHOLDS:
        mask = find_brain(bare | {"threshold": threshold}, head, SPACING)
        _say(f"without it, threshold {threshold:g}", scores_of(_inside(segmenter, head, mask), judged))
    mask = _fitted(bare, head, given, find_brain(bare, head, SPACING))
    _say("fitted to the given mask", scores_of(_inside(segmenter, head, mask), judged))


def _milliseconds(entry: dict, bare: dict, head: np.ndarray) -> dict[str, float]:
    """Medians of the mask with its edge's move and without it, in turns."""
    head = np.ascontiguousarray(head)  # as a Segmenter makes it
    seconds = []
    for _ in range(RUNS):
        marks = [time.perf_counter()]
        for one in (entry, bare):
            find_brain(one, head, SPACING)
            marks.append(time.perf_counter())
        seconds.append((marks[1] - marks[0], marks[2] - marks[1]))
    both, alone = (1e3 * statistics.median(column) for column in zip(*seconds, strict=True))
    return {"mask": both, "without the edge's move": alone}


def _rays(head: np.ndarray, given: np.ndarray) -> dict[str, float]:
    """Percent of an axis's rays into the mask, from both ends: those whose first voxel of it is tissue."""
    tissue = head >= TISSUE * np.median(head[given])
    shares = {}
    for axis, name in enumerate(AXES):
        met = []
        for turned in (given, np.flip(given, axis)):
            bright = tissue if turned is given else np.flip(tissue, axis)
            first = np.expand_dims(turned.argmax(axis), axis)
            met.append(np.take_along_axis(bright, first, axis).squeeze(axis)[turned.any(axis)])
        shares[name] = 100 * float(np.mean(np.concatenate(met)))
    return shares


def _inside(segmenter: Segmenter, head: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Labels inside a mask of what it leaves of the head, which the model takes for a stripped brain."""
    labels = segmenter.run(np.where(mask, head, np.float32(0))[None], spacing=SPACING)
    return np.where(mask, labels, 0)


def _shares(labels: np.ndarray, judged: Judged, ours: np.ndarray) -> dict[str, float]:
    """In percent of the fluid of the stripped run."""
    fluid, found = judged.reference == FLUID, (labels == FLUID) & judged.where
    depth = ndimage.distance_transform_edt(ours & judged.where)
    counts = {
        "left out by the mask": fluid & ~ours,
        "other label": fluid & ours & ~found,
        "new fluid": found & ~fluid,
        "new fluid in the rim": found & ~fluid & (depth <= RIM),
        "deep fluid": fluid & (depth > DEEP),
        "deep and changed": (fluid != found) & (depth > DEEP),
    }
    return {what: 100 * np.count_nonzero(mask) / np.count_nonzero(fluid) for what, mask in counts.items()}


def _fitted(entry: dict, head: np.ndarray, given: np.ndarray, ours: np.ndarray) -> np.ndarray:
    """A mask by gradient boosting on the intensity, its blurs and our mask: each side of the head by a model
    that was fitted to the given mask on the other side.
    """
    masks = [ours, *(find_brain(entry | {"threshold": t}, head, SPACING) for t in (0.2, 0.4, 0.9))]
    distances = [ndimage.distance_transform_edt(m) - ndimage.distance_transform_edt(~m) for m in masks]
    blurs = [head, *(ndimage.gaussian_filter(head, sigma) for sigma in (0.7, 1, 1.5, 2, 3, 5, 8))]
    contrasts = [fine - coarse for fine, coarse in zip(blurs, blurs[2:], strict=False)]
    extremes = [ndimage.minimum_filter(head, 5), ndimage.maximum_filter(head, 5)]
    band = np.abs(distances[0]) < BAND
    features = np.stack([image[band] for image in (*distances, *blurs, *contrasts, *extremes)], 1)
    left = np.nonzero(band)[0] < head.shape[0] / 2
    scores, random = np.empty(len(left)), np.random.default_rng(0)
    for side in (left, ~left):
        seen = random.choice(np.flatnonzero(~side), 150_000, replace=False)
        model = HistGradientBoostingClassifier(max_iter=120, random_state=0)
        scores[side] = model.fit(features[seen], given[band][seen]).decision_function(features[side])
    beyond = np.sort(scores[~given[band]])
    mask = distances[0] > 0
    mask[band] = scores > beyond[-round(ALLOWED / 100 * np.count_nonzero(given))]
    return mask


def _say(case: str, values: dict[str, float]) -> None:
    print(f"{case}: " + ", ".join(f"{what} {value:.3f}" for what, value in values.items()), flush=True)
    record(QUESTION, case, values, "")


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])

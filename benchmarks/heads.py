"""Does the demo network keep to the brain? Whole heads and stripped brains, as they are and changed.

Every volume is also judged mirrored, turned by 30 degrees, in thick slices and, where it is a head, defaced.
"""

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy import ndimage

from benchmarks import accuracy_report
from benchmarks.accuracy import (
    TISSUES,
    Judged,
    colin27_images,
    head_at_2_mm,
    template_at_2_mm,
    template_itself,
)
from benchmarks.accuracy_report import OUTSIDE
from benchmarks.measure import record
from msdk_export.demo_network import OWN_WEIGHTS, export_demo
from msdk_export.synthetic.template import load_template
from msdk_rt import Segmenter
from msdk_rt.inference.labels import dice

QUESTION = "heads"
DRAWS = 20
SEED = 20261126
Spacing = tuple[float, float, float]


def main(arguments: list[str] = ()) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.heads", description=__doc__)
    parser.add_argument("--weights", type=Path, default=OWN_WEIGHTS, help="checkpoint (%(default)s)")
    parser.add_argument("--draws", type=int, default=DRAWS, help="heads and brains at 2 mm (%(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="of the network (%(default)s)")
    parser.add_argument("--name", default="", help="before each case's name: which weights these are")
    parser.add_argument("--pictures", type=Path, metavar="FOLDER", help="where Colin27's labels are drawn")
    parser.add_argument(
        "--colin27", type=Path, metavar="FOLDER", help="with ch2.nii.gz and ch2bet.nii.gz of mricron-data"
    )
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        artifact = Path(folder) / "model.onnx"
        export_demo(artifact, options.weights)
        with Segmenter(artifact, threads=options.threads) as segmenter:
            if options.colin27:
                _colin27(segmenter, options.colin27, options.name, options.pictures)
            template = load_template()
            _judge(segmenter, f"{options.name}MNI152, 1 mm", [template_itself(template)], (1.0,) * 3, False)
            for kind, make in (("brains", template_at_2_mm), ("heads", head_at_2_mm)):
                draws = (make(template, SEED + draw) for draw in range(options.draws))
                name = f"{options.name}MNI152 at 2 mm, {options.draws} {kind}"
                _judge(segmenter, name, draws, (2.0,) * 3, kind == "heads")
    accuracy_report.write()


def _colin27(segmenter: Segmenter, folder: Path, name: str, pictures: Path | None) -> None:
    """The head against the run of its stripped brain, inside that brain."""
    head, brain = colin27_images(folder)
    spacing = (1.0, 1.0, 1.0)
    stripped = segmenter.run(brain[None], spacing=spacing)
    judged = Judged(head, stripped, brain > 0)
    for change, image, changed_spacing in _changes(judged, spacing, True):
        labels = segmenter.run(image.image[None], spacing=changed_spacing)
        scores = scores_of(labels, image)
        _say(f"{name}Colin27, head{change}, against its stripped brain", scores)
        if pictures and not change:
            _draw(pictures, name or "with the brain mask", head, labels)


def _judge(
    segmenter: Segmenter, name: str, volumes: Iterator[Judged], spacing: Spacing, is_head: bool
) -> None:
    """Mean and worst of each change over the volumes, against their own labels."""
    scores: dict[str, list[dict[str, float]]] = {}
    for judged in volumes:
        judged = judged._replace(where=judged.reference > 0)
        for change, image, changed_spacing in _changes(judged, spacing, is_head):
            labels = segmenter.run(image.image[None], spacing=changed_spacing)
            found = scores_of(labels, image, everywhere=True)
            scores.setdefault(change, []).append(found)
    for change, rows in scores.items():
        _say(f"{name}{change}, mean", {what: float(np.mean([row[what] for row in rows])) for what in rows[0]})
        if len(rows) > 1:
            worst = {what: float(min(row[what] for row in rows)) for what in TISSUES}
            worst[OUTSIDE] = float(max(row[OUTSIDE] for row in rows))
            _say(f"{name}{change}, worst", worst)


def scores_of(labels: np.ndarray, judged: Judged, everywhere: bool = False) -> dict[str, float]:
    """Dice of each tissue, inside the brain or everywhere, and the tissue outside the brain."""
    brain = judged.where
    where = slice(None) if everywhere else brain
    scores = dice(labels[where], judged.reference[where], TISSUES)
    outside = np.count_nonzero((labels > 0) & ~brain)
    return scores | {OUTSIDE: 100 * outside / max(1, np.count_nonzero(brain))}


def _say(case: str, scores: dict[str, float]) -> None:
    print(f"{case}: " + ", ".join(f"{what} {value:.3f}" for what, value in scores.items()), flush=True)
    record(QUESTION, case, scores, "")


def _changes(judged: Judged, spacing: Spacing, is_head: bool) -> Iterator[tuple[str, Judged, Spacing]]:
    """The volume and its changed copies: (what was done, volume, spacing)."""
    yield "", judged, spacing
    yield ", mirrored", _each(judged, lambda array, order: np.ascontiguousarray(array[::-1])), spacing
    for axes, plane in (((1, 2), "nodded"), ((0, 2), "tilted")):
        yield f", {plane} by 30 degrees", _each(judged, _turned(axes)), spacing
    thick = max(1, round(3 / spacing[2]))
    yield (
        f", slices of {thick * spacing[2]:g} mm",
        _each(judged, _in_slices(thick)),
        (*spacing[:2], thick * spacing[2]),
    )
    if is_head:
        yield ", defaced", judged._replace(image=_defaced(judged)), spacing


def _each(judged: Judged, change) -> Judged:
    """The image, changed with order 1, the reference and the mask with order 0."""
    return Judged(change(judged.image, 1), change(judged.reference, 0), change(judged.where, 0))


def _turned(axes: tuple[int, int]):
    def change(array: np.ndarray, order: int) -> np.ndarray:
        if array.dtype == bool:
            return ndimage.rotate(array.astype(np.uint8), 30, axes, order=0) > 0
        return ndimage.rotate(array, 30, axes, order=order)

    return change


def _in_slices(thick: int):
    """Slices as thick as so many voxels along the last axis: the image's mean, the labels' middle voxel."""

    def change(array: np.ndarray, order: int) -> np.ndarray:
        whole = array[..., : array.shape[2] // thick * thick]
        parts = whole.reshape(*array.shape[:2], -1, thick)
        return parts.mean(3) if order else np.ascontiguousarray(parts[..., thick // 2])

    return change


def _defaced(judged: Judged) -> np.ndarray:
    """The image without what lies before and below the front of the brain."""
    found = np.argwhere(judged.where)
    (_, back, floor), (_, front, top) = found.min(0), found.max(0)
    _, y, z = np.indices(judged.image.shape, sparse=True)
    face = (y - front) + 1.2 * ((floor + 0.35 * (top - floor)) - z) > 0.1 * (front - back)
    return np.where(face & ~ndimage.binary_dilation(judged.where, iterations=3), 0, judged.image)


def _draw(folder: Path, name: str, head: np.ndarray, labels: np.ndarray) -> None:
    """A picture in three planes, of so few colours and pixels that a page can hold it."""
    from PIL import Image

    from msdk_rt.imaging.overlay import draw_overlay

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"colin27-{name.strip(' ,').replace(' ', '-')}.png"
    draw_overlay(head, labels, {"background": 0, **TISSUES}, "Colin27, whole head", path)
    with Image.open(path) as picture:
        small = picture.convert("RGB").resize((picture.width * 2 // 3, picture.height * 2 // 3))
    small.quantize(64).save(path, optimize=True)


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])

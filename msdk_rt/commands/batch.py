"""`msdk-rt run`: segments cases in turn, keeps finished ones, reports each."""

import argparse
import sys
import time
from typing import Any

import numpy as np

from msdk_rt.artifact.files import remove
from msdk_rt.artifact.manifest import Manifest
from msdk_rt.errors import InputError, one_line
from msdk_rt.imaging.cases import Case, find_cases
from msdk_rt.imaging.results import Segmentation
from msdk_rt.imaging.volumes import check_result
from msdk_rt.segmenter import Segmenter


def segment_cases(options: argparse.Namespace) -> dict[str, Any]:
    """Do what the options of `msdk-rt run` say; the report is made of JSON types.

    A case whose files are wrong is reported and the next one follows; any other error ends the run.
    """
    with Segmenter(
        options.model,
        providers=options.provider,
        overlap=options.overlap,
        blend=options.blend,
        batch_size=options.batch_size,
        mirror_axes=options.mirror,
        threads=options.threads,
    ) as segmenter:
        cases = find_cases(options.inputs, segmenter.manifest.channels, options.output)
        return {
            "model": str(options.model),
            "providers": segmenter.providers,
            "threads": options.threads,
            "cases": [_segment_case(segmenter, case, options) for case in cases],
        }


def voxel_counts(segmentation: Segmentation, labels: dict[str, int]) -> dict[str, dict[str, float]]:
    """Voxels and millilitres of every label, by name."""
    voxel_ml = segmentation.space.voxel_ml if segmentation.space else float("nan")
    counts = {name: int(np.count_nonzero(segmentation.labels == value)) for name, value in labels.items()}
    return {name: {"voxels": count, "ml": round(count * voxel_ml, 3)} for name, count in counts.items()}


def _segment_case(segmenter: Segmenter, case: Case, options: argparse.Namespace) -> dict[str, Any]:
    report = {"case": case.name, "inputs": [str(path) for path in case.inputs], "output": str(case.output)}
    if case.output.exists() and not options.overwrite:
        fault = _fault(case, options.probabilities, segmenter.manifest)
        if not fault:
            _say(f"{case.name}: kept {case.output}, which exists; --overwrite segments it again")
            return report | {"kept": True}
        _say(f"{case.name}: segmented again, since {fault}")
    start = time.perf_counter()
    try:
        segmentation = segmenter.run(
            case.inputs, return_probabilities=options.probabilities, progress=not options.quiet
        )
    except InputError as error:
        message = one_line(error)
        _say(f"{case.name}: {message}")
        return report | {"error": message}
    if options.probabilities:
        segmentation.save_probabilities(case.probabilities)
        report["probabilities"] = str(case.probabilities)
    elif options.overwrite:
        remove(case.probabilities)
    segmentation.save(case.output)
    seconds = time.perf_counter() - start
    _say(f"{case.name}: {case.output}, {seconds:.1f} s")
    return report | {
        "seconds": round(seconds, 3),
        "shape": list(segmentation.labels.shape),
        "labels": voxel_counts(segmentation, segmenter.manifest.labels),
    }


def _fault(case: Case, probabilities: bool, manifest: Manifest) -> str:
    """Say why an earlier result cannot be kept; "" if it is whole and lies where its input lies.

    We write files whole, and the labels last; but a copy may be cut, or another program may have written it.
    """
    if probabilities and not case.probabilities.exists():
        return f"{case.probabilities} is missing"
    try:
        check_result(case.output, case.inputs[0], 1)
        if probabilities:
            check_result(case.probabilities, case.inputs[0], len(manifest.labels))
    except InputError as error:
        return f"the result there is not whole: {one_line(error)}"
    return ""


def _say(message: str) -> None:
    print(f"msdk-rt: {message}", file=sys.stderr)

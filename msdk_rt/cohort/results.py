"""A case's result on disk: labels, probabilities, picture and record appear together or not at all."""

import json
import os
from pathlib import Path
from typing import Any

from msdk_rt.artifact.files import atomic_write, check_writable, folder_lock, remove, temporary_folder
from msdk_rt.artifact.manifest import sha256_of
from msdk_rt.cohort.cases import NPZ, Case
from msdk_rt.cohort.nnunet_files import save_probabilities
from msdk_rt.cohort.records import FORMAT_VERSION, KEY, Request, read_record
from msdk_rt.cohort.volumes import voxel_counts
from msdk_rt.errors import OutputError
from msdk_rt.imaging.picture import three_planes
from msdk_rt.imaging.results import Segmentation
from msdk_rt.imaging.space import Space, sides_of
from msdk_rt.inference.arrays import Array
from msdk_rt.inference.device.arrays import on_host


def write_result(
    case: Case,
    segmentation: Segmentation,
    image: Array,
    request: Request,
    inputs: list[dict[str, Any]],
    warned: list[str],
) -> dict[str, Any]:
    """Write what belongs to the case; returns the record.

    image: (X, Y, Z), the first channel in the file's axis order. inputs: what msdk_rt.cohort.records.identity
    gave before they were read. All files are written aside, reach the disk, and are put in place under a
    lock of the folder: first the record, last the labels, so that a kill in between leaves no labels that
    another record describes. Raises OutputError.
    """
    space = segmentation.space
    if space is None:
        raise ValueError("a case's segmentation comes from files and has their space")
    folder = case.output.parent
    check_writable(folder)
    try:
        with temporary_folder(folder) as aside:
            targets = _write_aside(aside, case, segmentation, image, space, request)
            record = {
                "format_version": FORMAT_VERSION,
                "model": request.model,
                "settings": request.settings,
                "inputs": inputs,
                "files": {path.name: sha256_of(aside / path.name) for path in targets},
                "shape": list(space.shape),
                "spacing_mm": spacing(space),
                "labels": voxel_counts(segmentation, request.labels),
                "label_values": request.labels,
                "warnings": warned,
                "made_with": request.made_with,
            }
            with folder_lock(folder):
                _put_in_place(aside, case, targets, record, request)
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(
            f"cannot write {case.output}: {error.strerror or error}; choose a writable folder with enough "
            "space"
        ) from error
    return record


def spacing(space: Space) -> list[float]:
    """Voxel sides in millimetres along the file's axes."""
    return [round(float(side), 4) for side in sides_of(space.affine)]


def _write_aside(
    aside: Path, case: Case, segmentation: Segmentation, image: Array, space: Space, request: Request
) -> list[Path]:
    """Write every file of the result under its own name into `aside`; returns where each belongs."""
    targets = []
    for path, text in case.companions.items():
        with atomic_write(aside / path.name, "w") as file:
            file.write(text)
        targets.append(path)
    if case.picture:
        values = [value for value in request.labels.values() if value != 0]
        with atomic_write(aside / case.picture.name) as file:
            file.write(three_planes(image, on_host(segmentation.labels), space, values))
        targets.append(case.picture)
    if request.probabilities and case.probabilities.suffix == NPZ:
        properties = case.probabilities.with_suffix(".pkl")
        save_probabilities(segmentation, request.reader_axes, aside / case.probabilities.name)
        targets += [case.probabilities, properties]
    elif request.probabilities:
        segmentation.save_probabilities(aside / case.probabilities.name)
        targets.append(case.probabilities)
    segmentation.save(aside / case.output.name)
    return [*targets, case.output]


def _put_in_place(
    aside: Path, case: Case, targets: list[Path], record: dict[str, Any], request: Request
) -> None:
    if case.picture:
        check_writable(case.picture.parent)
    before = read_record(case)
    if case.output.exists():
        record["replaces"] = sha256_of(case.output)
    if not request.probabilities and (
        request.overwrite or (before and case.probabilities.name in before["files"])
    ):
        remove(case.probabilities)
    with atomic_write(case.record, "w") as file:
        json.dump({**case.described, KEY: record}, file, indent=1)
        file.write("\n")
    for path in targets:
        os.replace(aside / path.name, path)

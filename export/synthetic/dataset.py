"""Synthetic cases as a dataset folder in the Medical Segmentation Decathlon's form."""

import gzip
import json
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from tqdm import tqdm

from msdk_export.synthetic.cases import make_case, make_masked_case
from msdk_export.synthetic.template import CLASSES, Template, load_template
from msdk_rt.artifact.files import atomic_write

UNITS = 1000.0  # of the int16 voxels that are written, for the intensity of white matter


def write_dataset(
    folder: Path,
    cases: int,
    validation: int,
    seed: int,
    workers: int,
    load: Callable[[], Template] = load_template,
    masked: bool = False,
) -> None:
    """Write cases + validation volumes and labels, then dataset.json that lists them.

    load: called once in each of the worker processes. masked: cases are what a brain mask leaves of a head.
    """
    for name in ("imagesTr", "labelsTr"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    seeds = case_seeds(seed, cases + validation)
    names = [f"synthetic_{number:04d}.nii.gz" for number in range(len(seeds))]
    with ProcessPoolExecutor(workers, initializer=_start_worker, initargs=(load,)) as pool:
        written = pool.map(_write_case, [folder] * len(seeds), names, seeds, [masked] * len(seeds))
        for _ in tqdm(written, total=len(seeds), unit="case"):
            pass

    entries = [{"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"} for name in names]
    dataset = {
        "name": "Synthetic T1",
        "description": f"Drawn from the MNI152 tissue maps, seed {seed}",
        "tensorImageSize": "3D",
        "modality": {"0": "t1"},
        "labels": {str(value): name for value, name in enumerate(CLASSES)},
        "numTraining": cases,
        "training": entries[:cases],
        "validation": entries[cases:],
    }
    with atomic_write(folder / "dataset.json", "w") as file:
        json.dump(dataset, file, indent=1)


def case_seeds(seed: int, count: int) -> list[int]:
    """Seeds of a dataset's cases: independent, and the first ones the same however many there are."""
    return [
        int(np.random.SeedSequence([seed, number]).generate_state(1, np.uint64)[0] >> 1)
        for number in range(count)
    ]


_worker: dict[str, Template] = {}


def _start_worker(load: Callable[[], Template]) -> None:
    torch.set_num_threads(1)
    _worker["template"] = load()


def _write_case(folder: Path, name: str, seed: int, masked: bool) -> None:
    image_path, label_path = folder / "imagesTr" / name, folder / "labelsTr" / name
    if image_path.is_file() and label_path.is_file():
        return
    case = (make_masked_case if masked else make_case)(_worker["template"], seed)
    affine = np.diag([*case.spacing, 1.0])
    voxels = np.clip(np.round(UNITS * case.image), 0, np.iinfo(np.int16).max).astype(np.int16)
    for path, data in ((image_path, voxels), (label_path, case.labels)):
        with atomic_write(path, "wb") as file:
            file.write(_gzipped(nib.Nifti1Image(data, affine)))


def _gzipped(image: nib.Nifti1Image) -> bytes:
    return gzip.compress(image.to_bytes(), compresslevel=1, mtime=0)

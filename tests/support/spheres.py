"""A dataset that a tiny network learns in seconds: a bright and a dark sphere in noise."""

import json
from pathlib import Path

import nibabel
import numpy as np

LABELS = {"background": 0, "bright": 1, "dark": 4}
AFFINE = np.diag([-1.0, 1, 1.5, 1])
TINY = {"dims": (6, 8), "depths": (1, 1), "d_state": 2}


def spheres(seed: int, shape=(34, 32, 30), channels: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Image (X, Y, Z, C) float32 and label (X, Y, Z) uint8; the last channel shows the dark one."""
    random = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"))
    label = np.zeros(shape, np.uint8)
    image = random.normal(100, 4, (*shape, channels)).astype(np.float32)
    for value, low, intensity in ((1, 0.3, 170), (4, 0.7, 40)):
        centre = np.array([low * side for side in shape]) + random.uniform(-3, 3, 3)
        inside = ((grid - centre[:, None, None, None]) ** 2).sum(0) < random.uniform(5.5, 7) ** 2
        label[inside] = value
        image[inside, 0 if value == 1 else -1] += intensity - 100
    return image, label


def save(array: np.ndarray, path: Path, affine: np.ndarray = AFFINE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array, affine), path)
    return path


def decathlon(folder: Path, cases: int = 4, channels: int = 1, **entries) -> Path:
    """Write `cases` cases and dataset.json in the Decathlon's form, `entries` overriding."""
    names = [f"case_{index}.nii.gz" for index in range(cases)]
    for index, name in enumerate(names):
        image, label = spheres(index, channels=channels)
        save(image[..., 0] if channels == 1 else image, folder / "imagesTr" / name)
        save(label, folder / "labelsTr" / name)
    description = {
        "modality": {str(index): f"m{index}" for index in range(channels)},
        "labels": {str(value): name for name, value in LABELS.items()},
        "training": [{"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"} for name in names],
    }
    return describe(folder, description | entries)


def nnunet(folder: Path, cases: int = 4, channels: int = 1, **entries) -> Path:
    """The same cases in the form of nnU-Net v2."""
    for index in range(cases):
        image, label = spheres(index, channels=channels)
        for channel in range(channels):
            save(image[..., channel], folder / "imagesTr" / f"case_{index}_{channel:04d}.nii.gz")
        save(label, folder / "labelsTr" / f"case_{index}.nii.gz")
    description = {
        "channel_names": {str(index): f"m{index}" for index in range(channels)},
        "labels": LABELS,
        "numTraining": cases,
        "file_ending": ".nii.gz",
    }
    return describe(folder, description | entries)


def describe(folder: Path, description: dict) -> Path:
    (folder / "dataset.json").write_text(json.dumps(description), encoding="utf-8")
    return folder

"""Results folders of nnU-Net's, and an image for each; the networks of `head` and `ct` were trained.

`head`: the MNI152 template, a T1 head of 1 mm; background, fluid, grey and white matter; mm 1.2.
`ct`: 512 x 512 slices with 24 organs of different density, which no scanner made; the network sees 2.5 mm.
`parts`: the head again, with 117 classes and weights at random: its memory is measured, and nothing else.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import msdk_rt
from tests.support import nnunet_folder

STEPS = 300
PATCH = 48  # voxels along a side of a patch in training
ORGANS = 24
PARTS = 116
AIR, FLESH, DENSEST = -1000, 40, 900  # Hounsfield units
MATTER = 0.5  # a voxel is of the tissue whose share is above
CONFIGURATION = "3d_fullres"
Sample = Callable[[np.random.Generator], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Case:
    """A results folder as nnU-Net finds it, our artifact of it, and a folder with one image.

    trained: labels mean something, and can be compared.
    """

    name: str
    title: str
    dataset: int
    results: Path
    artifact: Path
    images: Path
    trained: bool

    @property
    def image(self) -> Path:
        (path,) = self.images.iterdir()
        return path


@dataclass(frozen=True)
class Kind:
    title: str
    dataset: int
    plan: dict[str, Any]
    labels: dict[str, int]
    sample: Callable[[], Sample]
    image: Callable[[], tuple[np.ndarray, np.ndarray]]
    steps: int = STEPS


def make(name: str, folder: Path) -> Case:
    """The case in `folder`; what is there already is not trained again."""
    kind = KINDS[name]
    results = folder / f"Dataset{kind.dataset}_{name}" / f"nnUNetTrainer__nnUNetPlans__{CONFIGURATION}"
    case = Case(
        name, kind.title, kind.dataset, results, folder / f"{name}.onnx", folder / name, kind.steps > 0
    )
    if not case.artifact.exists():
        nnunet_folder.write_case(case.images, name, *kind.image())
        nnunet_folder.write_folder(
            results,
            nnunet_folder.plans(name=CONFIGURATION, **kind.plan),
            nnunet_folder.dataset(labels=kind.labels),
            steps=kind.steps,
            sample=kind.sample(),
        )
        msdk_rt.export(results, case.artifact)
    return case


def _head() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(T1, tissue, affine): (X, Y, Z) the template's intensities, and 1 fluid, 2 grey, 3 white matter."""
    from nilearn import datasets

    grey, white = (
        np.asarray(load(resolution=1).dataobj)
        for load in (datasets.load_mni152_gm_template, datasets.load_mni152_wm_template)
    )
    template = datasets.load_mni152_template(resolution=1)
    voxels = np.asarray(template.dataobj, np.float32)
    inside = np.asarray(datasets.load_mni152_brain_mask(resolution=1).dataobj) > 0
    tissue = inside.astype(np.int64)
    tissue[grey > MATTER] = 2
    tissue[white > MATTER] = 3
    return voxels, tissue, np.asarray(template.affine)


def _head_sample() -> Sample:
    """Cubes of the head, flipped at random and with noise."""
    voxels, tissue, _ = _head()
    inside = voxels != 0
    normal = (voxels - voxels[inside].mean()) / voxels[inside].std()

    def sample(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        cube = tuple(
            slice(start, start + PATCH)
            for start in (int(rng.integers(0, side - PATCH)) for side in voxels.shape)
        )
        axes = [axis for axis in range(3) if rng.random() < 0.5]
        image, target = np.flip(normal[cube], axes), np.flip(tissue[cube], axes)
        noisy = image + 0.05 * rng.standard_normal(image.shape)
        return noisy[None].astype(np.float32), target.copy()

    return sample


def _head_image() -> tuple[np.ndarray, np.ndarray]:
    voxels, _, affine = _head()
    return voxels[None], affine


def _density(organ: np.ndarray) -> np.ndarray:
    """Hounsfield units of organ 1 to ORGANS; 0 is air."""
    densities = np.array([AIR, *np.linspace(FLESH, DENSEST, ORGANS)], np.float32)
    return densities[organ]


def _organs(rng: np.random.Generator, shape: tuple[int, ...], count: int, size: float) -> np.ndarray:
    """(*shape): which organ, 0 for none; balls of about `size` voxels' radius, later ones before earlier."""
    organs = np.zeros(shape, np.uint8)
    for organ in rng.choice(np.arange(1, ORGANS + 1), count, replace=count > ORGANS):
        centre = [rng.uniform(0.1 * side, 0.9 * side) for side in shape]
        radius = size * rng.uniform(0.7, 1.3)
        box = tuple(
            slice(max(0, int(at - radius)), min(side, int(at + radius) + 2))
            for at, side in zip(centre, shape, strict=True)
        )
        grid = np.ogrid[box]
        distance = sum((axis - at) ** 2 for axis, at in zip(grid, centre, strict=True))
        organs[box][distance < radius**2] = organ
    return organs


def _ct_sample() -> Sample:
    """Cubes of organs as the network sees them, normalised by the plans' fingerprint."""
    statistics = nnunet_folder.plans()["foreground_intensity_properties_per_channel"]["0"]
    low, high = statistics["percentile_00_5"], statistics["percentile_99_5"]

    def sample(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        target = _organs(rng, (PATCH,) * 3, 16, 9.0).astype(np.int64)
        density = _density(target) + 6 * rng.standard_normal(target.shape)
        image = (np.clip(density, low, high) - statistics["mean"]) / statistics["std"]
        return image[None].astype(np.float32), target

    return sample


def _ct_image() -> tuple[np.ndarray, np.ndarray]:
    """(1, X, Y, Z) and the affine: 512 x 512 x 200 voxels of 0.8 x 0.8 x 1.25 mm."""
    rng = np.random.default_rng(0)
    organs = _organs(rng, (512, 512, 200), 400, 26.0)
    voxels = _density(organs)
    voxels += 10 * rng.standard_normal(voxels.shape, np.float32)
    return np.round(voxels)[None].astype(np.int16), np.diag([0.8, 0.8, 1.25, 1.0])


KINDS = {
    "head": Kind(
        title="T1 head of 1 mm (197 x 233 x 189), 4 classes, seen at 1.2 mm in windows of 64^3",
        dataset=901,
        plan={"patch": (64, 64, 64), "spacing": (1.2, 1.2, 1.2), "features": (16, 32, 64, 128)},
        labels={"background": 0, "fluid": 1, "grey matter": 2, "white matter": 3},
        sample=_head_sample,
        image=_head_image,
    ),
    "parts": Kind(
        title="T1 head of 1 mm (197 x 233 x 189), 117 classes, weights at random, seen at 1.2 mm",
        dataset=903,
        plan={"patch": (64, 64, 64), "spacing": (1.2, 1.2, 1.2), "features": (16, 32, 64, 128)},
        labels={"background": 0} | {f"part {index}": index for index in range(1, PARTS + 1)},
        sample=_head_sample,
        image=_head_image,
        steps=0,
    ),
    "ct": Kind(
        title="CT (512 x 512 x 200), 25 classes, seen at 2.5 mm in windows of 64^3",
        dataset=902,
        plan={
            "patch": (64, 64, 64),
            "spacing": (2.5, 2.5, 2.5),
            "features": (16, 32, 64, 128),
            "schemes": ["CTNormalization"],
        },
        labels={"background": 0} | {f"organ {index}": index for index in range(1, ORGANS + 1)},
        sample=_ct_sample,
        image=_ct_image,
    ),
}

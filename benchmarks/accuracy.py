"""Volumes with known tissue labels for judging the demo network and the ablation, and their Dice."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import nibabel as nib
import numpy as np
import torch
from sklearn.mixture import GaussianMixture

from msdk_export.synthetic.appearance import blurred, scanned
from msdk_export.synthetic.cases import make_case
from msdk_export.synthetic.deformation import random_positions, sample
from msdk_export.synthetic.fields import Random
from msdk_export.synthetic.heads import HeadPainter
from msdk_export.synthetic.template import Template
from msdk_rt.inference.labels import dice

TISSUES = {"cerebrospinal fluid": 1, "grey matter": 2, "white matter": 3}


class Judged(NamedTuple):
    """image and reference labels, both (D, H, W) in RAS order; where: voxels that count, None for all."""

    image: np.ndarray
    reference: np.ndarray
    where: np.ndarray | None = None


def tissue_dice(labels: np.ndarray, judged: Judged) -> dict[str, float]:
    """Dice coefficient of each tissue over the voxels that count."""
    where = slice(None) if judged.where is None else judged.where
    return dice(labels[where], judged.reference[where], TISSUES)


def template_itself(template: Template) -> Judged:
    """The MNI152 T1 at 1 mm against its own tissue maps."""
    return Judged(template.t1.numpy(), template.labels)


def template_at_2_mm(template: Template, seed: int) -> Judged:
    """The MNI152 T1 after a random affine map, resampled to 2 mm, with random contrast, bias and noise."""
    random, spacing = Random(seed), (2.0, 2.0, 2.0)
    positions = random_positions(random, tuple(template.t1.shape), spacing, displacements=())
    # 0.85 voxels is the Gaussian of 2 mm full width at half maximum: a coarse voxel averages
    t1 = sample(blurred(template.t1, 0.85)[None], positions)[0]
    maps = sample(template.probabilities, positions)
    maps[0] += 1 - maps.sum(0)
    labels = maps.argmax(0)
    t1[labels == 0] = 0
    image = scanned(random, t1 / template.t1.max(), spacing, stripped=True)
    return Judged(image.numpy(), labels.numpy().astype(np.uint8))


def head_at_2_mm(template: Template, seed: int) -> Judged:
    """The brain of template_at_2_mm with a random head around it, another contrast, bias and noise."""
    random, spacing = Random(seed), (2.0, 2.0, 2.0)
    positions = random_positions(random, tuple(template.t1.shape), spacing, displacements=())
    t1 = sample(blurred(template.t1, 0.85)[None], positions)[0] / template.t1.max()
    maps = sample(template.probabilities, positions)
    maps[0] += 1 - maps.sum(0)
    labels = maps.argmax(0)
    inside = positions.clamp(min=0).minimum(torch.tensor(template.t1.shape) - 1.0)
    distance = sample(template.distance[None], inside)[0] + (positions - inside).norm(dim=-1)
    places = positions + torch.from_numpy(template.affine[:3, 3].copy()).float()
    around = HeadPainter(random, places, distance, 2.0).head()
    image = scanned(random, t1 + maps[0] * around * t1[labels == 3].mean(), spacing, stripped=False)
    return Judged(image.numpy(), labels.numpy().astype(np.uint8))


def synthetic(template: Template, seeds: list[int]) -> Iterator[Judged]:
    """Synthetic cases of these seeds."""
    for seed in seeds:
        case = make_case(template, seed)
        yield Judged(case.image, case.labels)


def colin27_images(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Colin27's head and its stripped brain, both (D, H, W) float32 in RAS order, of colin27's folder."""
    head, brain = (
        np.asarray(nib.as_closest_canonical(nib.load(folder / name)).dataobj, np.float32)
        for name in ("ch2.nii.gz", "ch2bet.nii.gz")
    )
    return head, brain


def colin27(folder: Path) -> Judged:
    """The Colin27 head, which no training saw, against a Gaussian mixture of its brain's intensities.

    folder: with ch2.nii.gz and ch2bet.nii.gz, one healthy man's T1, averaged over 27 scans, and its brain
    (Holmes et al., J Comput Assist Tomogr 1998; Debian's package mricron-data has both). No hand-drawn labels
    come with it: the reference is a three-class mixture, fitted and judged inside the extracted brain alone.
    It knows no anatomy, so deep grey matter and partial volumes are where it is least to be trusted.
    """
    head, brain = colin27_images(folder)
    inside = brain > 0
    values = brain[inside][:, None]
    start = np.percentile(values, [5, 40, 80])[:, None]
    mixture = GaussianMixture(3, means_init=start, random_state=0).fit(values[::10])
    order = np.argsort(np.argsort(mixture.means_[:, 0]))
    reference = np.zeros(head.shape, np.uint8)
    reference[inside] = 1 + order[mixture.predict(values)]
    return Judged(head, reference, inside)

"""One synthetic case: a T1 volume and its tissue labels."""

from dataclasses import dataclass

import numpy as np
import torch

from msdk_export.synthetic.appearance import blurred, head_around, random_tissues, scanned, tissue_intensities
from msdk_export.synthetic.deformation import random_positions, random_spacing, sample
from msdk_export.synthetic.fields import Random
from msdk_export.synthetic.heads import HeadPainter
from msdk_export.synthetic.template import Template
from msdk_rt.inference.foreground import nonzero_box

REAL_SHARE = 0.3  # of the cases that show the template's own T1
HEAD_SHARE = 0.65  # of the cases that are not skull-stripped
LOOSE_SHARE = 0.15  # of the masked heads, cut far outside the brain
LARGEST_RIM = 12.0  # mm of head that a masked case keeps around the brain, at most


@dataclass(frozen=True)
class Case:
    """image (D, H, W) float32 in arbitrary units, labels (D, H, W) uint8, spacing (3,) in mm, RAS order."""

    image: np.ndarray
    labels: np.ndarray
    spacing: tuple[float, float, float]


def make_case(template: Template, seed: int) -> Case:
    """The case that belongs to a seed: the same on every run and machine that draws alike."""
    random = Random(seed)
    spacing = random_spacing(random)
    positions = random_positions(random, tuple(template.t1.shape), spacing)
    distance = sample(template.distance[None], positions, outside="border")[0]
    image, labels = _brain(random, template, positions, spacing)
    stripped = not random.happens(HEAD_SHARE)
    if stripped:
        image[distance > random.uniform(-0.5, 2.0)] = 0
    else:
        up = positions[..., 2] - (template.t1.shape[2] - 1) / 2
        image = head_around(random, image, labels, distance, up)
    image = scanned(random, image, spacing, stripped)
    return Case(image.numpy(), labels.numpy().astype(np.uint8), spacing)


def make_masked_case(template: Template, seed: int) -> Case:
    """What a brain mask leaves of a head: the brain and a rim around it, in the box of both, 0 outside."""
    random = Random(seed)
    spacing = random_spacing(random)
    positions = random_positions(random, tuple(template.t1.shape), spacing)
    distance = sample(template.distance[None], positions, outside="border")[0]
    box = nonzero_box((distance < LARGEST_RIM).numpy()[None])
    positions, distance = positions[box], distance[box]
    image, labels = _brain(random, template, positions, spacing)
    if random.happens(HEAD_SHARE):
        origin = torch.from_numpy(template.affine[:3, 3].copy()).float()
        around = HeadPainter(random, positions + origin, distance, max(spacing)).head()
        image = torch.where(labels > 0, image, blurred(around, 0.4))
        outside = distance > _rim(random, distance.shape, spacing)
    else:
        outside = distance > random.uniform(-0.5, 2.0)
    image[outside] = 0
    image = scanned(random, image, spacing, stripped=True)
    return Case(image.numpy(), labels.numpy().astype(np.uint8), spacing)


def _brain(
    random: Random, template: Template, positions: torch.Tensor, spacing: tuple[float, float, float]
) -> tuple[torch.Tensor, torch.Tensor]:
    """The image and labels (D, H, W) of the brain at these positions: the template's own T1, or drawn."""
    probabilities = sample(template.probabilities, positions)
    probabilities[0] += 1 - probabilities.sum(0)
    if random.happens(REAL_SHARE):
        labels = probabilities.argmax(0)
        t1 = sample(template.t1[None], positions)[0]
        image = torch.where(labels > 0, t1, 0.0) / template.t1[template.probabilities[3] > 0.9].mean()
    else:
        labels = random_tissues(random, probabilities, spacing)
        image = tissue_intensities(random, labels)
    return image, labels


def _rim(random: Random, shape: torch.Size, spacing: tuple[float, ...]) -> torch.Tensor:
    """(D, H, W): mm from the brain's surface at which a brain mask cuts, uneven as a mask is."""
    loose = random.happens(LOOSE_SHARE)
    middle = random.uniform(5.0, LARGEST_RIM) if loose else random.uniform(-1.0, 5.0)
    return middle + random.uniform(0.0, 1.5) * random.field(shape, 20.0 / max(spacing))[0]

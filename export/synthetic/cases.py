"""One synthetic case: a T1 volume and its tissue labels."""

from dataclasses import dataclass

import numpy as np
import torch

from msdk_export.synthetic.appearance import head_around, random_tissues, scanned, tissue_intensities
from msdk_export.synthetic.deformation import random_positions, random_spacing, sample
from msdk_export.synthetic.fields import Random
from msdk_export.synthetic.template import Template

REAL_SHARE = 0.3  # of the cases that show the template's own T1
HEAD_SHARE = 0.65  # of the cases that are not skull-stripped


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
    probabilities = sample(template.probabilities, positions)
    probabilities[0] += 1 - probabilities.sum(0)
    distance = sample(template.distance[None], positions, outside="border")[0]

    if random.happens(REAL_SHARE):
        labels = probabilities.argmax(0)
        t1 = sample(template.t1[None], positions)[0]
        image = torch.where(labels > 0, t1, 0.0) / template.t1[template.probabilities[3] > 0.9].mean()
    else:
        labels = random_tissues(random, probabilities, spacing)
        image = tissue_intensities(random, labels)
    stripped = not random.happens(HEAD_SHARE)
    if stripped:
        image[distance > random.uniform(-0.5, 2.0)] = 0
    else:
        up = positions[..., 2] - (template.t1.shape[2] - 1) / 2
        image = head_around(random, image, labels, distance, up)
    image = scanned(random, image, spacing, stripped)
    return Case(image.numpy(), labels.numpy().astype(np.uint8), spacing)

"""From tissue labels to a T1 volume: an intensity a class, a head around the brain, a scanner's faults.

Intensities are relative to white matter. T1 weighting keeps CSF darkest and white matter brightest; how far
they lie apart is drawn.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from msdk_export.synthetic.fields import Random


def random_tissues(random: Random, probabilities: Tensor, spacing: tuple[float, ...]) -> Tensor:
    """One brain of those that the maps (4, D, H, W) allow: class indices (D, H, W).

    The maps are an average of 152 brains. A correlated field on the log-probabilities decides alike for
    neighbouring voxels, so gyri and sulci come out whole; its scale and strength are drawn, and so is how
    far the cortex has shrunk in favour of CSF.
    """
    fine = max(2.0, random.uniform(2.0, 4.5) / max(spacing))
    strength = random.uniform(0.0, 1.6)
    logits = (probabilities.clamp(min=0) + 5e-3).log()
    logits += strength * random.field(logits.shape[1:], fine, channels=4)
    logits[1] += random.uniform(-0.3, 1.2)
    inside = probabilities[0] < 0.5
    return torch.where(inside, 1 + logits[1:].argmax(0), 0)


def tissue_intensities(random: Random, labels: Tensor) -> Tensor:
    """(D, H, W): every class with its own mean and noise, mixed where classes share a voxel."""
    white = 1.0
    csf = random.uniform(0.02, 0.45)
    grey = csf + (white - csf) * random.uniform(0.35, 0.85)
    means = torch.tensor([0.0, csf, grey, white])
    deviations = torch.tensor([0.0, *(random.uniform(0.01, 0.06) for _ in range(3))])
    image = means[labels] + deviations[labels] * random.normal(*labels.shape)
    image += 0.04 * random.uniform(0, 1) * random.field(labels.shape, 12.0)[0] * (labels > 0)
    return blurred(image, random.uniform(0.2, 0.7))


def head_around(random: Random, image: Tensor, labels: Tensor, distance: Tensor, up: Tensor) -> Tensor:
    """The brain with meninges, skull, scalp, face and neck around it.

    distance: mm to the brain's surface (D, H, W), up: mm above its middle. Layer thicknesses and intensities
    vary over the head; below the brain, patches of muscle, fat, bone and air stand for face and neck.
    """
    shape = image.shape

    def varying(low: float, high: float, scale: float = 30.0) -> Tensor:
        middle, spread = (low + high) / 2, (high - low) / 4
        return (middle + spread * random.field(shape, scale)[0]).clamp(low, high)

    meninges = varying(0.5, 5.0)
    skull = meninges + varying(2.0, 9.0)
    scalp = skull + varying(3.0, 12.0) + (-up - 30).clamp(min=0) * random.uniform(0.5, 1.2)
    outside = torch.zeros(shape)
    patches = random.field(shape, random.uniform(4, 10), channels=2)
    tissue = torch.where(patches[0] > 0.4, random.uniform(0.7, 1.6), random.uniform(0.3, 0.7))
    tissue = torch.where(patches[1] > 1.0, random.uniform(0.0, 0.15), tissue)
    outside = torch.where(distance < scalp, tissue, outside)
    outside = torch.where(distance < skull, random.uniform(0.02, 0.35), outside)
    marrow = distance - meninges, skull - distance
    outside = torch.where((marrow[0] > 2) & (marrow[1] > 2), random.uniform(0.2, 0.9), outside)
    outside = torch.where(distance < meninges, random.uniform(0.02, 0.5), outside)
    outside *= 1 + 0.1 * random.field(shape, 6.0)[0]
    outside += random.uniform(0.01, 0.05) * random.normal(*shape) * (outside > 0)
    return torch.where(labels > 0, image, blurred(outside, 0.4))


def scanned(random: Random, image: Tensor, spacing: tuple[float, ...], stripped: bool) -> Tensor:
    """The image as a scanner gives it: contrast curve, uneven coil, blur, Rician noise, arbitrary units.

    stripped: what is exactly 0, outside a skull-stripped brain, stays 0.
    """
    void = image == 0
    image = image.clamp(min=0) ** random.uniform(0.75, 1.35)
    coil = random.uniform(0.0, 0.35) * random.field(image.shape, 70 / max(spacing))[0]
    image = image * coil.exp()
    if random.happens(0.5):
        image = blurred(image, random.uniform(0.2, 0.7))
    noise = random.uniform(0.0, 0.06) * random.normal(2, *image.shape)
    image = ((image + noise[0]) ** 2 + noise[1] ** 2).sqrt()
    if stripped:
        image[void] = 0
    return image


def blurred(image: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of a volume (D, H, W), sigma in voxels."""
    radius = max(1, round(3 * sigma))
    taps = torch.exp(-0.5 * (torch.arange(-radius, radius + 1) / sigma) ** 2)
    taps /= taps.sum()
    x = image[None, None]
    for axis in range(3):
        size = [1, 1, 1]
        size[axis] = len(taps)
        x = F.conv3d(x, taps.view(1, 1, *size), padding=[(n - 1) // 2 for n in size])
    return x[0, 0]

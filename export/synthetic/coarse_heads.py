"""Whole heads at a few millimetres, and how much of each voxel is brain: the brain mask's training data.

A T1 shows where grey matter ends, and hardly where fluid ends and bone begins. So the brain that the mask
learns ends where grey and white matter do: fluid in a sulcus is brain, fluid over a gyrus is not.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from msdk_export.synthetic.appearance import blurred
from msdk_export.synthetic.deformation import random_affine, sample
from msdk_export.synthetic.fields import Random
from msdk_export.synthetic.heads import HeadPainter
from msdk_export.synthetic.template import Template
from msdk_rt.inference.brain_mask.field import head_box, scaled

SPACING = 3.0  # mm
SIDES = ((48, 72), (56, 88), (48, 80))  # voxels: least and most, along D, H, W
REAL_SHARE = 0.3  # of the brains that show the template's own T1
STRIPPED_SHARE = 0.5
DEFACED_SHARE = 0.25  # of the heads
CUT_SHARE = 0.5  # of the volumes, whose field of view ends within the head
WHOLE_SHARE = 0.15  # of the volumes, that keep the air around the head
LEAST_SIDE = 32  # voxels
LARGEST_ROTATION = 50.0  # degrees
DEEP = 6.0  # mm under the surface of the template's mask, where all is brain, ventricles too
# (mm between knots, mm of displacement): shape of the head, of a lobe, of a gyrus
DISPLACEMENTS = ((64.0, 7.0), (24.0, 3.0), (10.0, 1.4))


@dataclass(frozen=True)
class CoarseHead:
    """image, brain (D, H, W) float32, sides multiples of 8; brain: share of a voxel that is brain, in [0, 1],
    without the fluid around it.

    counts (D, H, W) bool: voxels that the loss counts. Outside a stripped brain nothing is left to decide.
    """

    image: Tensor
    brain: Tensor
    counts: Tensor


class CoarseTemplate:
    """The template's maps, averaged over a coarse voxel."""

    def __init__(self, template: Template, spacing: float = SPACING):
        sigma = 0.3 * spacing  # of a Gaussian in voxels of 1 mm, about as wide as the voxel
        self.maps = torch.stack([blurred(image, sigma) for image in (*template.probabilities, template.t1)])
        self.maps[4] /= template.t1[template.probabilities[3] > 0.9].mean()
        self.distance = template.distance
        self.origin = torch.from_numpy(template.affine[:3, 3].copy()).float()
        self.sides = torch.tensor(template.t1.shape)


def make_coarse_head(template: CoarseTemplate, seed: int, spacing: float = SPACING) -> CoarseHead:
    """The head that belongs to a seed."""
    random = Random(seed)
    shape = tuple(8 * round(random.uniform(least / 8, most / 8)) for least, most in SIDES)
    positions = _positions(random, template, shape, spacing)
    maps = sample(template.maps, positions)
    inside = maps[1:4].sum(0).clamp(0, 1)
    distance = _distance(template, positions)
    draw = _real if random.happens(REAL_SHARE) else _drawn
    tissue, matter = draw(random, maps)
    deep = ((-distance - DEEP) / spacing + 0.5).clamp(0, 1)
    brain = torch.maximum(_over_sulci(matter * inside), deep)
    stripped = random.happens(STRIPPED_SHARE)
    counts = torch.ones(shape, dtype=torch.bool)
    if stripped and random.happens(0.4):  # as the template is: cut where the brain ends
        kept = inside
        image = tissue * kept
    else:
        around = HeadPainter(random, positions + template.origin, distance, spacing).head()
        image = inside * tissue + (1 - inside) * around
        if stripped:
            limit = random.uniform(-1.5, 5.0) + random.uniform(0, 1.5) * random.field(shape, 8.0)[0]
            kept = ((limit - distance) / spacing + 0.5).clamp(0, 1)
            image = image * kept
    image = _scanned(random, image, spacing)
    if stripped:
        image = torch.where(kept > 0, image, 0.0)
        counts = kept > 0
    elif random.happens(DEFACED_SHARE):
        image = image * ~_face(random, positions + template.origin)
    if random.happens(CUT_SHARE):
        image, counts = _cut(random, image, counts)
    head = CoarseHead(image, brain, counts)
    return head if random.happens(WHOLE_SHARE) else _without_air(head)


def _positions(random: Random, template: CoarseTemplate, shape: tuple[int, ...], spacing: float) -> Tensor:
    """(D, H, W, 3): the template's voxel of each voxel of the new volume."""
    reach = [max(0.0, side * spacing - 190) / 2 + 15 for side in shape]
    axes = [
        (torch.arange(side) - (side - 1) / 2) * spacing + random.uniform(-far, far)
        for side, far in zip(shape, reach, strict=True)
    ]
    centred = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)
    positions = centred @ random_affine(random, random.uniform(5.0, LARGEST_ROTATION)).T
    for knots, displacement in DISPLACEMENTS:
        field = random.field(shape, max(2.0, knots / spacing), channels=3)
        positions += displacement * random.uniform(0, 1) * field.movedim(0, -1)
    return positions + (template.sides - 1) / 2


def _distance(template: CoarseTemplate, positions: Tensor) -> Tensor:
    """mm to the brain's surface, outside the template's box as far again as the box is away."""
    inside = torch.minimum(positions.clamp(min=0), template.sides - 1.0)
    beyond = (positions - inside).norm(dim=-1)
    distance: Tensor = sample(template.distance[None], positions, outside="border")[0] + beyond
    return distance


def _real(random: Random, maps: Tensor) -> tuple[Tensor, Tensor]:
    """The template's own T1 over the share of brain, a random curve of contrast; and the share of matter."""
    brain = maps[1:4].sum(0).clamp(min=0.05)
    tissue = (maps[4] / brain).clamp(0, 1.5) ** random.uniform(0.7, 1.5)
    return tissue, (maps[2:4].sum(0) / brain).clamp(0, 1)


def _drawn(random: Random, maps: Tensor) -> tuple[Tensor, Tensor]:
    """Random intensities of the three tissues, mixed as the maps and a random field say; and the share of
    matter, which is grey or white.
    """
    shape = maps.shape[1:]
    logits = (maps[1:4].clamp(min=0) + 5e-3).log()
    logits = logits + random.uniform(0.0, 1.2) * random.field(shape, 2.0, channels=3)
    logits[0] += random.uniform(-0.5, 1.5)
    white = 1.0
    csf = random.uniform(0.02, 0.45)
    grey = csf + (white - csf) * random.uniform(0.35, 0.85)
    if random.happens(0.1):
        csf, grey, white = (random.uniform(0.02, 1.2) for _ in range(3))
    means = torch.tensor([csf, grey, white]).view(3, 1, 1, 1)
    shares = logits.softmax(0)
    tissue = (shares * means).sum(0)
    return tissue + 0.03 * random.uniform(0, 1) * random.normal(*shape), shares[1:].sum(0)


def _over_sulci(matter: Tensor) -> Tensor:
    """Shares (D, H, W) with what is narrower than three voxels along an axis closed."""
    return -_neighbours(-_neighbours(matter))


def _neighbours(shares: Tensor) -> Tensor:
    """The largest of each voxel and its six neighbours."""
    x = shares[None, None]
    along = [
        F.max_pool3d(x, size, 1, tuple(side // 2 for side in size))
        for size in ((3, 1, 1), (1, 3, 1), (1, 1, 3))
    ]
    return torch.stack(along).amax(0)[0, 0]


def _scanned(random: Random, image: Tensor, spacing: float) -> Tensor:
    """Contrast curve, uneven coil, thick slices or blur, Rician noise."""
    image = image.clamp(min=0) ** random.uniform(0.75, 1.35)
    coil = random.uniform(0.0, 0.4) * random.field(image.shape, 70 / spacing)[0]
    image = image * coil.exp()
    if random.happens(0.4):
        image = blurred(image, random.uniform(0.15, 0.5))
    if random.happens(0.2):
        axis = int(random.uniform(0, 3))
        image = (image + image.roll(1, axis)) / 2 if random.happens(0.5) else image
    amount = random.uniform(0.0, 0.04) if random.happens(0.7) else 0.0
    noise = amount * random.normal(2, *image.shape)
    image = ((image + noise[0]) ** 2 + noise[1] ** 2).sqrt()
    if random.happens(0.5):  # air that was set to 0
        image = torch.where(image < random.uniform(0.0, 0.08), 0.0, image)
    return image


def _face(random: Random, places: Tensor) -> Tensor:
    """(D, H, W) bool: what a defacing tool takes: all before and below a plane in front of the brain."""
    tilt = math.radians(random.uniform(20, 70))
    forward = places[..., 1] - random.uniform(40, 75)
    down = -places[..., 2] - random.uniform(30, 60)
    lumps = 4 * random.field(places.shape[:-1], 10.0)[0]
    face: Tensor = math.cos(tilt) * forward + math.sin(tilt) * down + lumps > 0
    return face & (places[..., 2] < random.uniform(-10, 30))


def _cut(random: Random, image: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """The field of view ends early, on one to three sides or at a slanting plane; beyond it all is 0."""
    seen = torch.zeros_like(counts)
    if random.happens(0.5):
        seen = _before_a_plane(random, image.shape)
    else:
        box = []
        for side in image.shape:
            low = int(random.uniform(0, 0.3) * side) if random.happens(0.35) else 0
            high = int(random.uniform(0, 0.3) * side) if random.happens(0.35) else 0
            box.append(slice(low, side - high))
        seen[tuple(box)] = True
    return torch.where(seen, image, 0.0), counts & seen


def _without_air(head: CoarseHead) -> CoarseHead:
    """What the network sees of it: the head's box, filled up with voxels of 0 that do not count."""
    box = head_box(scaled(head.image.numpy()))
    missing = [max(LEAST_SIDE, -(-side // 8) * 8) - side for side in head.image[box].shape]
    pads = [pad for end in reversed(missing) for pad in (0, end)]
    return CoarseHead(*(F.pad(values[box], pads) for values in (head.image, head.brain, head.counts)))


def _before_a_plane(random: Random, shape: torch.Size) -> Tensor:
    """(D, H, W) bool: all but what lies beyond a plane, most often below, as of a turned volume."""
    normal = random.normal(3) - torch.tensor([0.0, 0.0, 2.0])
    axes = [torch.arange(side) - (side - 1) / 2 for side in shape]
    places = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1) @ (normal / normal.norm())
    seen: Tensor = places < random.uniform(0.25, 0.95) * places.max()
    return seen

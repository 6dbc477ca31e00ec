"""Random pose, size, shape and resolution: where each voxel of a new volume lies in the template."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from msdk_export.synthetic.fields import Random

MAX_ROTATION = 20.0  # degrees about each axis
SCALE = (0.82, 1.15)  # of each axis
MAX_SHEAR = 0.1
MARGIN = (10.0, 30.0)  # mm around the template
# (mm between knots, mm of displacement): the shape of the head, of a lobe, of a gyrus
DISPLACEMENTS = ((64.0, 6.0), (24.0, 3.0), (10.0, 1.4))


def random_spacing(random: Random) -> tuple[float, float, float]:
    """Voxel sides in mm: 1 mm, another isotropic resolution, or slices thicker than they are fine."""
    kind = random.uniform(0, 1)
    if kind < 0.4:
        return (1.0,) * 3
    if kind < 0.75:
        return (random.uniform(0.85, 2.1),) * 3
    spacing = [random.uniform(0.85, 1.2)] * 3
    spacing[int(random.uniform(0, 3))] = random.uniform(1.2, 3.0)
    depth, height, width = spacing
    return depth, height, width


def random_positions(
    random: Random,
    sides: tuple[int, ...],
    spacing: tuple[float, ...],
    displacements: tuple[tuple[float, float], ...] = DISPLACEMENTS,
) -> Tensor:
    """(D, H, W, 3): the template's voxel (1 mm) that each voxel of a new volume shows.

    sides: the template's (D, H, W); spacing: the new volume's voxel sides in mm; displacements: as
    DISPLACEMENTS, () for a pose that is affine.
    """
    margin = random.uniform(*MARGIN)
    shape = tuple(math.ceil((side + margin) / step) for side, step in zip(sides, spacing, strict=True))
    centred = torch.stack(
        torch.meshgrid(
            *(
                (torch.arange(n) - (n - 1) / 2) * step + random.uniform(-margin, margin) / 2
                for n, step in zip(shape, spacing, strict=True)
            ),
            indexing="ij",
        ),
        dim=-1,
    )
    positions = centred @ random_affine(random).T
    for knots, displacement in displacements:
        amount = displacement * random.uniform(0, 1)
        field = random.field(shape, knots / max(spacing), channels=3)
        positions += amount * field.movedim(0, -1)
    return positions + (torch.tensor(sides) - 1) / 2


def sample(maps: Tensor, positions: Tensor, outside: str = "zeros") -> Tensor:
    """Maps (C, D, H, W) read at voxel positions (D', H', W', 3), trilinear: (C, D', H', W').

    outside: "zeros", or "border" to go on with the nearest voxel.
    """
    sides = torch.tensor(maps.shape[1:])
    # grid_sample wants (x, y, z), last axis first, with -1 and 1 at the centres of the outermost voxels
    grid = (2 * positions / (sides - 1) - 1).flip(-1)
    return F.grid_sample(maps[None], grid[None], padding_mode=outside, align_corners=True)[0]


def random_affine(random: Random, max_rotation: float = MAX_ROTATION) -> Tensor:
    """(3, 3): rotation up to so many degrees, shear, scales and, half the time, left and right swapped."""
    matrix = torch.eye(3)
    for axis in range(3):
        angle = math.radians(random.uniform(-max_rotation, max_rotation))
        first, second = (axis + 1) % 3, (axis + 2) % 3
        rotation = torch.eye(3)
        rotation[first, first] = rotation[second, second] = math.cos(angle)
        rotation[first, second], rotation[second, first] = -math.sin(angle), math.sin(angle)
        matrix = matrix @ rotation
    shear = torch.eye(3)
    shear[0, 1], shear[0, 2], shear[1, 2] = (random.uniform(-MAX_SHEAR, MAX_SHEAR) for _ in range(3))
    scales = torch.diag(torch.tensor([1 / random.uniform(*SCALE) for _ in range(3)]))
    mirror = torch.diag(torch.tensor([-1.0 if random.happens(0.5) else 1.0, 1.0, 1.0]))
    return matrix @ shear @ scales @ mirror

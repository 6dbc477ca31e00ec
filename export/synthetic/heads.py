"""A head around a synthetic brain: shells, eyes, air cavities, face and neck of random shape and contrast.

The idea is SynthSeg's and SynthStrip's (Billot et al., arXiv 2107.09559; Hoopes et al., arXiv 2203.09974):
what lies around the brain need not look real, it must vary more than real heads do. Places are millimetres in
the MNI152 space of the template, so the head follows the brain's pose and shape. Intensities are relative to
white matter; edges are as soft as a voxel is wide, so the same head can be drawn at 1 mm and at 3 mm.
"""

import torch
from torch import Tensor

from msdk_export.synthetic.fields import Random

RANDOM_CONTRAST = 0.25  # share of the heads whose tissues have any intensity
SPECKLE = 0.1  # of an intensity, within one tissue


class HeadPainter:
    """Paints structures over one another on a grid of voxels.

    places (D, H, W, 3): MNI152 millimetres of each voxel. distance (D, H, W): mm to the brain's surface,
    negative inside. voxel: its side in mm.
    """

    def __init__(self, random: Random, places: Tensor, distance: Tensor, voxel: float):
        self.random, self.distance, self.voxel = random, distance, voxel
        self.x, self.y, self.z = places.unbind(-1)
        self.image = torch.zeros_like(distance)
        self.wild = random.happens(RANDOM_CONTRAST)

    def head(self) -> Tensor:
        """(D, H, W): intensities around the brain, 0 in air."""
        random = self.random
        meninges = self.varying(0.3, 5.0)
        skull = meninges + self.varying(2.5, 11.0)
        scalp = skull + self.varying(2.0, 14.0) + (-self.z - 20).clamp(0, 60) * random.uniform(0.0, 0.5)
        self._face_and_neck()
        self.paint(self.soft(scalp - self.distance), self.tone(0.4, 1.9))
        fat = self.varying(1.0, 6.0)
        self.paint(self.soft(scalp - fat - self.distance), self.tone(0.4, 0.9))
        self._deep_structures()
        self.paint(self.soft(skull - self.distance), self.tone(0.0, 0.35))
        marrow = self.varying(0.5, 4.0)
        between = torch.minimum(self.distance - meninges - marrow, skull - marrow - self.distance)
        self.paint(self.soft(between), self.tone(0.2, 1.3))
        self._bone_cavities()
        self.paint(self.soft(meninges - self.distance), self.tone(0.3, 0.9))
        fluid = meninges - self.varying(0.3, 2.5)
        self.paint(self.soft(fluid - self.distance), self.tone(0.02, 0.45))
        return self.image

    def tone(self, low: float, high: float) -> Tensor:
        """An intensity of one tissue, drawn from the range or, in a wild head, from all; with speckle."""
        value = self.random.uniform(0.0, 1.8) if self.wild else self.random.uniform(low, high)
        return value * (1 + SPECKLE * self.random.field(self.image.shape, self.knots(10.0))[0])

    def varying(self, low: float, high: float, scale: float = 35.0) -> Tensor:
        """Millimetres that vary over the head, around a drawn middle."""
        middle = self.random.uniform(low, high)
        spread = self.random.uniform(0.0, 0.35) * (high - low)
        field = self.random.field(self.image.shape, self.knots(scale))[0]
        return (middle + spread * field).clamp(low, high)

    def knots(self, millimetres: float) -> float:
        return max(2.0, millimetres / self.voxel)

    def soft(self, depth: Tensor) -> Tensor:
        """Share of a voxel that lies within a surface; depth: mm from it, positive inside."""
        return (depth / self.voxel + 0.5).clamp(0, 1)

    def ball(self, centre: tuple[float, float, float], radii: tuple[float, float, float]) -> Tensor:
        """Depth in mm (roughly) within an ellipsoid with a lumpy surface."""
        (x, y, z), (a, b, c) = centre, radii
        radius = (((self.x - x) / a) ** 2 + ((self.y - y) / b) ** 2 + ((self.z - z) / c) ** 2).sqrt()
        return (1 - radius) * min(radii)

    def paint(self, share: Tensor, value: Tensor) -> None:
        self.image.lerp_(value, share)

    def _jitter(self, *centre: float, by: float = 6.0) -> tuple[float, float, float]:
        x, y, z = (value + self.random.uniform(-by, by) for value in centre)
        return x, y, z

    def _radii(self, *middle: float) -> tuple[float, float, float]:
        a, b, c = (value * self.random.uniform(0.75, 1.3) for value in middle)
        return a, b, c

    def _face_and_neck(self) -> None:
        random = self.random
        lumps = 4 * random.field(self.image.shape, self.knots(25.0))[0]
        face = self.ball(self._jitter(0, 40, -65), self._radii(65, 62, 75))
        jaw = self.ball(self._jitter(0, 45, -110), self._radii(50, 48, 40))
        axis = -30 + (-self.z - 60) * random.uniform(-0.3, 0.3)
        radius = (self.x**2 + (self.y - axis) ** 2).sqrt()
        neck = torch.minimum(random.uniform(48, 80) - radius, -25 - self.z)
        depth = torch.maximum(torch.maximum(face, jaw), neck) + lumps
        self.paint(self.soft(depth), self.tone(0.5, 1.8))  # skin and fat
        self.paint(self.soft(depth - self.varying(1.5, 8.0)), self.tone(0.4, 0.9))  # muscle
        patches = random.field(self.image.shape, self.knots(random.uniform(7, 20)), channels=3)
        inside = self.soft(depth - 3)
        for patch, low, high in zip(patches, (0.7, 0.0, 0.2), (1.8, 0.2, 1.0), strict=True):
            self.paint(inside * self.soft(8 * (patch - random.uniform(0.3, 1.5))), self.tone(low, high))

    def _deep_structures(self) -> None:
        """Eyes with orbital fat, the spine and cord, jaw muscles, glands."""
        random = self.random
        apart, forward, up = random.uniform(28, 37), random.uniform(50, 66), random.uniform(-48, -28)
        fat, globe, lens = self.tone(0.7, 1.8), self.tone(0.03, 0.5), self.tone(0.3, 1.0)
        radius = random.uniform(10, 14)
        nerve = self.tone(0.4, 1.0)
        for side in (-1, 1):
            orbit = self.ball((side * (apart - 3), forward - 10, up), (16, 26, 15))
            self.paint(self.soft(orbit), fat)
            along = ((forward - self.y) / 45).clamp(0, 1)
            off = ((self.x - side * apart * (1 - 0.6 * along)) ** 2 + (self.z - up) ** 2).sqrt()
            within = torch.minimum(3 - off, torch.minimum(forward - self.y, self.y - forward + 45))
            self.paint(self.soft(within), nerve)
            self.paint(self.soft(self.ball((side * apart, forward, up), (radius,) * 3)), globe)
            self.paint(self.soft(self.ball((side * apart, forward + 8, up), (4.5, 2.5, 4.5))), lens)
        muscle = self.tone(0.4, 1.0)
        for side in (-1, 1):
            self.paint(self.soft(self.ball(self._jitter(side * 62, 5, -35), self._radii(9, 25, 30))), muscle)
        behind = random.uniform(-52, -36)
        off = (self.x**2 + (self.y - behind) ** 2).sqrt()
        below = -random.uniform(60, 72) - self.z
        for radius, low, high in ((24, 0.1, 1.0), (11, 0.02, 0.45), (random.uniform(4, 7), 0.7, 1.1)):
            self.paint(self.soft(torch.minimum(radius - off, below)), self.tone(low, high))
        self.paint(
            self.soft(self.ball(self._jitter(0, 45, -95), self._radii(22, 28, 18))), self.tone(0.4, 1.0)
        )

    def _bone_cavities(self) -> None:
        """Air: nose, sinuses, throat, mastoid cells; each may be missing or full."""
        cavities = [
            ((0, 55, -55), (12, 28, 22)),  # nose
            ((0, 45, -32), (11, 20, 10)),  # ethmoid
            ((0, 22, -34), (10, 10, 8)),  # sphenoid
            ((-30, 45, -62), (13, 15, 15)),  # maxillary
            ((30, 45, -62), (13, 15, 15)),
            ((0, 72, -8), (16, 5, 12)),  # frontal
            ((0, 5, -95), (9, 9, 40)),  # throat
            ((-52, -35, -45), (9, 13, 13)),  # mastoid
            ((52, -35, -45), (9, 13, 13)),
        ]
        outside = self.soft(self.distance - 1.5)
        for centre, radii in cavities:
            if self.random.happens(0.8):
                depth = self.ball(self._jitter(*centre), self._radii(*radii))
                depth = depth + 2 * self.random.field(self.image.shape, self.knots(10.0))[0]
                self.paint(self.soft(depth) * outside, self.tone(0.0, 0.12))

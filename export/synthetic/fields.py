"""Random numbers and smooth random fields from one seeded generator."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


class Random:
    """Draws of one synthetic case: the same seed gives the same case."""

    def __init__(self, seed: int):
        self.generator = torch.Generator().manual_seed(seed)

    def uniform(self, low: float, high: float) -> float:
        return low + (high - low) * torch.rand((), generator=self.generator).item()

    def happens(self, probability: float) -> bool:
        return self.uniform(0, 1) < probability

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self.generator)

    def field(self, shape: Sequence[int], scale: float, channels: int = 1) -> Tensor:
        """(channels, D, H, W) of unit variance at its knots, which lie `scale` voxels apart."""
        knots = [max(2, round(side / scale) + 1) for side in shape]
        return F.interpolate(
            self.normal(1, channels, *knots), size=list(shape), mode="trilinear", align_corners=True
        )[0]

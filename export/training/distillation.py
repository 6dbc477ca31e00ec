"""Multi-scale self-distillation: a network's fused, finest output teaches its own coarser scales.

The idea is MSD-KMamba's (arXiv 2509.23677), of which only the abstract was read: no loss formula of the paper
is known here. The following is a reconstruction from the usual parts of such a loss. With S
scales, z the fused logits, z_s the logits and f_s the features of scale s, y the label map:

    supervision   L(z, y) + sum_s w_s L(z_s, pool_s(y)), L = Dice + cross-entropy, w_s ~ decay^s, sum 1
    distillation  mean_s T^2 KL( pool_s(softmax(z / T)) || softmax(z_s / T) ), mean over voxels, z detached
                  (Hinton et al., arXiv 1503.02531; within one network: Zhang et al., arXiv 1905.08094)
    feature       mean_s mean |a(f_s) - pool(a(f_{s-1}))|^2, f_{s-1} detached, a(f) = mean_c f_c^2 divided
                  by its root mean square: where a scale looks (attention transfer, Zagoruyko & Komodakis,
                  arXiv 1612.03928)

pool averages over the voxels that one coarser voxel covers, so coarse targets are fractions of classes, not
one class picked of eight. Attention maps need no projection between the widths of two scales.
"""

import itertools
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from monai.losses import DiceCELoss
from torch import Tensor, nn

from msdk_export.families.msd_kmamba.scales import Scales
from msdk_rt.errors import InputError


@dataclass(frozen=True)
class DistillationWeights:
    """The weight of each term. Raises InputError on a negative weight or a temperature that is not positive.

    distillation, feature: factors of the two terms, 0 switches one off (supervision of every head stays).
    temperature: T. scale_decay: a head's supervision counts this much of the next finer one's.
    """

    distillation: float = 0.5
    feature: float = 0.1
    temperature: float = 2.0
    scale_decay: float = 0.5

    def __post_init__(self) -> None:
        for name in ("distillation", "feature", "scale_decay"):
            if not getattr(self, name) >= 0:
                raise InputError(f"{name} must be at least 0, got {getattr(self, name)}")
        if not self.temperature > 0:
            raise InputError(f"temperature must be above 0, got {self.temperature}")


class Losses(NamedTuple):
    """total, weighted, to minimise; terms: fused, heads, distillation and feature as they are, detached."""

    total: Tensor
    terms: dict[str, Tensor]


class SelfDistillationLoss(nn.Module):
    """The module docstring's loss: forward(scales, target (B,1,D,H,W) of class indices) -> Losses.

    Plain logits (B,K,D,H,W) in place of Scales, from a network without heads at its scales, get L alone.
    """

    def __init__(self, weights: DistillationWeights | None = None):
        super().__init__()
        self.weights = weights or DistillationWeights()
        self.supervision = DiceCELoss(softmax=True)

    def forward(self, scales: Scales | Tensor, target: Tensor) -> Losses:
        if isinstance(scales, Tensor):
            fused = self.supervision(scales, one_hot(target, scales.shape[1]))
            return Losses(fused, {"fused": fused.detach()})
        weights = self.weights
        classes = one_hot(target, scales.fused.shape[1])
        terms = {
            "fused": self.supervision(scales.fused, classes),
            "heads": self._heads(scales, classes),
            "distillation": logit_distillation(scales, weights.temperature),
            "feature": feature_distillation(scales.features),
        }
        total = (
            terms["fused"]
            + terms["heads"]
            + weights.distillation * terms["distillation"]
            + weights.feature * terms["feature"]
        )
        return Losses(total, {name: term.detach() for name, term in terms.items()})

    def _heads(self, scales: Scales, classes: Tensor) -> Tensor:
        decay = [self.weights.scale_decay**s for s in range(len(scales.heads))]
        losses: list[Tensor] = [
            share * self.supervision(logits, pooled(classes, logits))
            for share, logits in zip(decay, scales.heads, strict=True)
        ]
        return sum(losses[1:], losses[0]) / sum(decay)


def logit_distillation(scales: Scales, temperature: float) -> Tensor:
    """T^2 KL(fused || head) at every head's resolution, mean over voxels and heads, in float32."""
    teacher = F.softmax(scales.fused.detach().float() / temperature, dim=1)
    losses = []
    for logits in scales.heads:
        student = F.log_softmax(logits.float() / temperature, dim=1)
        divergence = F.kl_div(student, pooled(teacher, logits), reduction="none").sum(dim=1)
        losses.append(temperature**2 * divergence.mean())
    return torch.stack(losses).mean()


def feature_distillation(features: list[Tensor]) -> Tensor:
    """Mean squared difference of neighbouring scales' attention maps, the finer detached; 0 for one scale."""
    if len(features) == 1:
        return features[0].new_zeros((), dtype=torch.float32)
    maps = [attention(feature) for feature in features]
    return torch.stack(
        [
            F.mse_loss(coarse, normalised(pooled(fine.detach(), coarse)))
            for fine, coarse in itertools.pairwise(maps)
        ]
    ).mean()


def attention(features: Tensor) -> Tensor:
    """(B,C,D,H,W) -> (B,1,D,H,W): mean squared activation of every voxel, divided by its RMS over voxels."""
    return normalised(features.float().square().mean(dim=1, keepdim=True))


def normalised(maps: Tensor) -> Tensor:
    """Divided by the root mean square over each sample's voxels."""
    power = maps.square().mean(dim=(1, 2, 3, 4), keepdim=True)
    return maps / (power + torch.finfo(maps.dtype).tiny).sqrt()


def pooled(x: Tensor, like: Tensor) -> Tensor:
    """x averaged down to the resolution of `like`."""
    depth, height, width = like.shape[2:]
    return x if x.shape[2:] == like.shape[2:] else F.adaptive_avg_pool3d(x, (depth, height, width))


def one_hot(target: Tensor, classes: int) -> Tensor:
    """Class indices (B,1,D,H,W) -> (B,K,D,H,W) float32."""
    return F.one_hot(target[:, 0].long(), classes).movedim(-1, 1).float()

"""The outputs of a decoder with a head at every scale while it is trained."""

from typing import NamedTuple

from torch import Tensor


class Scales(NamedTuple):
    """Logits and features of a decoder's S scales, fine to coarse; scale s has 1 / 2^s of the resolution."""

    fused: Tensor  # (B, K, D, H, W), every scale's logits combined at full resolution
    heads: list[Tensor]  # S times (B, K, D / 2^s, H / 2^s, W / 2^s)
    features: list[Tensor]  # S times (B, C_s, D / 2^s, H / 2^s, W / 2^s), what the heads read

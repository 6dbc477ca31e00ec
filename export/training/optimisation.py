"""One optimiser step: learning rate, mixed precision, clipping, averaged weights."""

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn

from msdk_export.families.msd_kmamba.scales import Scales
from msdk_export.training.distillation import SelfDistillationLoss
from msdk_export.training.settings import TrainingSettings

_AMP_DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "none": None}


class Optimisation:
    """A network, its averaged copy, and everything that carries from one step to the next.

    The averaged weights follow with the factor min(ema_decay, (1 + t) / (10 + t)) at step t, so that a short
    run is not held back by its first weights.
    """

    def __init__(self, network: nn.Module, settings: TrainingSettings, device: torch.device):
        self.settings = settings
        self.device = device
        self.network = network.to(device).train()
        self.averaged = copy.deepcopy(self.network).eval().requires_grad_(False)
        self.loss = SelfDistillationLoss(settings.distillation)
        self.optimiser = torch.optim.AdamW(_parameter_groups(self.network, settings.weight_decay))
        amp = settings.amp
        if amp == "auto":
            amp = "float16" if device.type == "cuda" else "none"
        self.amp_dtype = _AMP_DTYPES[amp]
        self.scaler = torch.amp.GradScaler(device.type, enabled=amp == "float16")

    def step(self, step: int, image: Tensor, classes: Tensor) -> dict[str, Tensor]:
        """Update the weights with one batch; the loss and its terms, on the device. step counts from 0."""
        torch.manual_seed(_seed(self.settings.seed, step))
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(self.settings, step)
        with self._autocast():
            output = self.network(image.to(self.device, non_blocking=True))
        losses = self.loss(in_float32(output), classes.to(self.device, non_blocking=True))
        self.optimiser.zero_grad(set_to_none=True)
        self.scaler.scale(losses.total).backward()
        self.scaler.unscale_(self.optimiser)
        if self.settings.gradient_clip > 0:
            nn.utils.clip_grad_norm_(self.network.parameters(), self.settings.gradient_clip)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        self._average(step)
        return {"loss": losses.total.detach(), **losses.terms}

    def predict(self, windows: Tensor) -> Tensor:
        """Logits (B, K, D, H, W) float32 of the averaged network."""
        with torch.inference_mode(), self._autocast():
            logits: Tensor = self.averaged(windows)
            return logits.float()

    @property
    def recovers(self) -> bool:
        """Whether steps without a finite gradient are left out, with room to scale the loss down further."""
        return self.scaler.is_enabled() and self.scaler.get_scale() >= 1

    def state_dict(self) -> dict[str, Any]:
        """Everything that load_state_dict needs, tensors and plain values."""
        return {name: getattr(self, name).state_dict() for name in self._parts()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state of an Optimisation with the same settings and network."""
        for name in self._parts():
            getattr(self, name).load_state_dict(state[name])

    def _parts(self) -> tuple[str, ...]:
        return "network", "averaged", "optimiser", "scaler"

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, dtype=self.amp_dtype, enabled=self.amp_dtype is not None)

    def _average(self, step: int) -> None:
        average_into(self.averaged, self.network, self.settings.ema_decay, step)


def learning_rate(settings: TrainingSettings, step: int) -> float:
    """Linear from 0 over warmup_steps, then half a cosine down to 0 at the end; step counts from 0."""
    return scheduled(settings.learning_rate, settings.warmup_steps, settings.steps, step)


def scheduled(peak: float, warmup: int, steps: int, step: int) -> float:
    """As learning_rate, without settings."""
    warmup = min(warmup, steps)
    if step < warmup:
        return peak * (step + 1) / warmup
    progress = (step - warmup) / (steps - warmup)
    return peak * (1 + math.cos(math.pi * progress)) / 2


@torch.no_grad()
def average_into(averaged: nn.Module, network: nn.Module, ema_decay: float, step: int) -> None:
    """Move averaged parameters towards the network's, faster in the first steps; buffers are copied."""
    decay = min(ema_decay, (1 + step) / (10 + step))
    means: list[Tensor] = list(averaged.parameters())
    torch._foreach_lerp_(means, list(network.parameters()), 1 - decay)
    for mean, buffer in zip(averaged.buffers(), network.buffers(), strict=True):
        mean.copy_(buffer)


def in_float32(output: Scales | Tensor) -> Scales | Tensor:
    """A network's output in float32, whatever autocast made of it: losses are sums over many voxels."""
    if isinstance(output, Tensor):
        return output.float()
    return Scales(output.fused.float(), *([x.float() for x in scales] for scales in output[1:]))


def _parameter_groups(network: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    decayed: list[nn.Parameter] = []
    free: list[nn.Parameter] = []
    for name, parameter in network.named_parameters():
        (decayed if name.endswith("weight") and parameter.ndim > 1 else free).append(parameter)
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": free, "weight_decay": 0.0}]


def _seed(seed: int, step: int) -> int:
    return (seed * 1_000_003 + step + 1) % 2**63

"""The settings of a training run."""

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from msdk_export.models import MSDKMambaConfig, demo_config
from msdk_export.training.distillation import DistillationWeights
from msdk_rt.errors import InputError

NETWORKS = ("demo", "base")
AUGMENTATIONS = ("none", "light", "strong")
AMP_MODES = ("auto", "none", "float16", "bfloat16")
MACHINE_SETTINGS = ("device", "threads", "workers", "cache")


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """One training run. Raises InputError on a value that no run can have.

    A run may be resumed with other values of device, threads, workers and cache, which belong to the machine.
    Bit-identical results need the same device and threads.

    Attributes:
        steps: optimiser steps in all.
        window: (D, H, W) in voxels.
        batch_size: windows a step.
        learning_rate: of AdamW; reached after warmup_steps, then lowered along a half cosine to 0 at `steps`.
        warmup_steps: steps over which the learning rate rises from 0.
        weight_decay: of convolutions and projections; biases, norms and the scan's A and D have none.
        gradient_clip: largest norm of the gradient, 0 for any.
        ema_decay: of the averaged weights, which are validated and saved; 0 averages nothing.
        seed: of the weights and of every random choice.
        network: "demo" (under a million parameters), "base", or fields of MSDKMambaConfig as a dict; channels
            and classes come from the dataset.
        init: a checkpoint with weights of that network, to start from.
        validation: cases held out where dataset.json names none, a fraction below 1 or a count.
        validate_every: steps between validations.
        save_every: steps between saved states.
        log_every: steps between rows of metrics.csv.
        overlap: fraction that neighbouring windows share in validation.
        augmentation: "none", "light" (flips, brightness) or "strong" (also rotation, zoom, contrast, bias
            field, noise, blur, low resolution).
        mirror_axes: axes that may be flipped; 0 is left-right.
        foreground: share of windows that are sure to hold a voxel of a random label.
        amp: arithmetic of the forward pass; "auto" is float16 on CUDA and none (float32) on a CPU.
        distillation: weights of the loss's terms.
        device: "auto", "cpu", "cuda", "cuda:1", ...
        threads: of PyTorch; None: its default.
        workers: threads that make samples.
        cache: share of the cases kept in memory.
    """

    steps: int = 20_000
    window: tuple[int, int, int] = (64, 64, 64)
    batch_size: int = 2
    learning_rate: float = 1e-3
    warmup_steps: int = 100
    weight_decay: float = 0.01
    gradient_clip: float = 1.0
    ema_decay: float = 0.999
    seed: int = 0
    network: str | Mapping[str, Any] = "demo"
    init: str | None = None
    validation: float = 0.2
    validate_every: int = 1000
    save_every: int = 100
    log_every: int = 10
    overlap: float = 0.5
    augmentation: str = "light"
    mirror_axes: tuple[int, ...] = (0,)
    foreground: float = 0.5
    amp: str = "auto"
    distillation: DistillationWeights = field(default_factory=DistillationWeights)
    device: str = "auto"
    threads: int | None = None
    workers: int = 1
    cache: float = 1.0

    def __post_init__(self) -> None:
        for name in ("window", "mirror_axes"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if len(self.window) != 3 or any(not _whole(side, 1) for side in self.window):
            raise InputError(f"window must be three sides D, H, W in voxels, got {self.window}")
        least = {"steps": 1, "batch_size": 1, "validate_every": 1, "save_every": 1, "log_every": 1}
        least |= {"warmup_steps": 0, "seed": 0, "workers": 1}
        for name, smallest in least.items():
            if not _whole(getattr(self, name), smallest):
                raise InputError(
                    f"{name} must be a whole number of at least {smallest}, got {getattr(self, name)!r}"
                )
        if self.threads is not None and not _whole(self.threads, 1):
            raise InputError(f"threads must be a whole number of at least 1, got {self.threads!r}")
        for name, low, high in (
            ("learning_rate", 0, math.inf),
            ("weight_decay", 0, math.inf),
            ("gradient_clip", 0, math.inf),
            ("ema_decay", 0, 1),
            ("overlap", 0, 1),
            ("validation", 0, math.inf),
        ):
            if not low <= getattr(self, name) < high:
                raise InputError(f"{name} must be in [{low}, {high}), got {getattr(self, name)}")
        for name in ("foreground", "cache"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name} must be in [0, 1], got {getattr(self, name)}")
        if self.validation >= 1 and self.validation != int(self.validation):
            raise InputError(
                f"validation must be a fraction below 1 or a whole number, got {self.validation}"
            )
        if not set(self.mirror_axes) <= {0, 1, 2}:
            raise InputError(f"mirror_axes must be among 0, 1, 2, got {self.mirror_axes}")
        for name, choices in (("augmentation", AUGMENTATIONS), ("amp", AMP_MODES)):
            if getattr(self, name) not in choices:
                raise InputError(f"{name} must be one of {', '.join(choices)}, got {getattr(self, name)!r}")
        if not isinstance(self.network, Mapping) and self.network not in NETWORKS:
            raise InputError(
                f"network must be one of {', '.join(NETWORKS)} or fields of MSDKMambaConfig, got "
                f"{self.network!r}"
            )

    def network_config(self, in_channels: int, num_classes: int) -> MSDKMambaConfig:
        """The network's sizes for a dataset. Raises InputError when `network` holds other fields."""
        if self.network == "demo":
            return demo_config(in_channels, num_classes)
        fields = dict(self.network) if isinstance(self.network, Mapping) else {}
        for name, found in (("in_channels", in_channels), ("num_classes", num_classes)):
            if fields.setdefault(name, found) != found:
                raise InputError(f"the network's config has {name} {fields[name]}, the dataset has {found}")
        try:
            return MSDKMambaConfig(**fields)
        except TypeError as error:
            raise InputError(f"the network's config is not one of MSDKMambaConfig: {error}") from error

    def deciding(self) -> dict[str, Any]:
        """The settings that decide the result, as JSON returns them: all but MACHINE_SETTINGS."""
        values = dataclasses.asdict(self)
        deciding = {name: value for name, value in values.items() if name not in MACHINE_SETTINGS}
        plain: dict[str, Any] = json.loads(json.dumps(deciding))
        return plain


def _whole(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least

"""Validation on whole volumes, blended as the runtime blends: Dice and the 95% Hausdorff distance (HD95)."""

import math
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from monai.inferers import sliding_window_inference
from monai.metrics import compute_dice, compute_hausdorff_distance
from torch import Tensor

from msdk_export.training.cases import CaseArrays

SIGMA_SCALE = 0.125
HD95_VOXELS = 1 << 22


@dataclass(frozen=True)
class Scores:
    """dice: per label without background, mean over cases; 1 where neither map has it, 0 where one has.

    hd95: in millimetres, mean over the cases where both maps have the label; NaN where there is none.
    """

    dice: dict[str, float]
    hd95: dict[str, float]

    @property
    def mean_dice(self) -> float:
        """Mean over labels."""
        return sum(self.dice.values()) / len(self.dice)


def validate(
    predict: Callable[[Tensor], Tensor],
    cases: Iterable[CaseArrays],
    labels: dict[str, int],
    window: tuple[int, int, int],
    overlap: float,
    device: torch.device,
) -> Scores:
    """Segment every case and score it.

    predict: windows (B, C, *window) on device -> logits (B, K, *window). overlap: of neighbouring windows.
    """
    dice, hd95 = [], []
    for case in cases:
        with torch.inference_mode():
            logits = sliding_window_inference(
                torch.from_numpy(case.image.astype(np.float32))[None],
                window,
                sw_batch_size=1,
                predictor=predict,
                overlap=overlap,
                mode="gaussian",
                sigma_scale=SIGMA_SCALE,
                sw_device=device,
                device=torch.device("cpu"),
            )
            found = logits[0].argmax(0).to(torch.uint8).numpy()
        pairs = [(found == k, case.classes == k) for k in range(1, len(labels))]
        dice.append([_dice(*pair) for pair in pairs])
        hd95.append([_hd95(*pair, case.spacing) for pair in pairs])
    names = list(labels)[1:]
    return Scores(_means(names, dice), _means(names, hd95))


def _dice(found: np.ndarray, truth: np.ndarray) -> float:
    return float(compute_dice(_batch(found), _batch(truth), ignore_empty=False, num_classes=1))


def _batch(mask: np.ndarray) -> Tensor:
    """(D, H, W) -> (1, 1, D, H, W)."""
    return torch.from_numpy(mask)[None, None]


def _hd95(found: np.ndarray, truth: np.ndarray, spacing: tuple[float, float, float]) -> float:
    """Within the box that holds both masks; of a box over HD95_VOXELS every second voxel is read, then every
    third, ..., which keeps a volume's scoring at seconds and the error below the stride."""
    if not found.any() or not truth.any():
        return math.nan
    either = found | truth
    box = []
    for axis in range(3):
        kept = np.flatnonzero(either.any(axis=tuple(a for a in range(3) if a != axis)))
        box.append(slice(int(kept[0]), int(kept[-1]) + 1))
    stride = math.ceil((math.prod(b.stop - b.start for b in box) / HD95_VOXELS) ** (1 / 3))
    found, truth = (mask[tuple(box)][(slice(None, None, stride),) * 3] for mask in (found, truth))
    if not found.any() or not truth.any():
        return math.nan
    with warnings.catch_warnings():
        # MONAI calls its own get_mask_edges with an argument that it has deprecated.
        warnings.simplefilter("ignore", FutureWarning)
        distance = compute_hausdorff_distance(
            _batch(np.pad(found, 1)),
            _batch(np.pad(truth, 1)),
            include_background=True,
            percentile=95,
            spacing=[stride * side for side in spacing],
        )
    return float(distance)


def _means(names: list[str], rows: list[list[float]]) -> dict[str, float]:
    columns = zip(*rows, strict=True)
    return {name: _mean([v for v in column if v == v]) for name, column in zip(names, columns, strict=True)}


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else math.nan

"""Trains the brain mask on heads that are drawn as they are needed; one head a step.

A run that was stopped goes on from the last state in its folder. bfloat16 halves the time of a CPU that has
it; the averaged weights are float32. Heads are at least 32 voxels wide: on smaller ones PyTorch 2.13's
gradient of a bfloat16 convolution reads memory that nobody wrote.
"""

import csv
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from msdk_export.brain_mask.network import BrainMaskNet, scaled
from msdk_export.synthetic.coarse_heads import CoarseHead, CoarseTemplate, make_coarse_head
from msdk_export.synthetic.dataset import case_seeds
from msdk_export.synthetic.template import load_template
from msdk_export.training.environment import reproducible
from msdk_export.training.optimisation import average_into, scheduled
from msdk_export.training.state import write_tensors

LEARNING_RATE = 3e-3
WARMUP = 50
EMA_DECAY = 0.99
EDGE_WEIGHT = 3.0  # more for a voxel that the brain's surface passes through
VALIDATION_SEED = 1_000_003
VALIDATION_HEADS = 12


def train_brain_mask(
    folder: Path,
    steps: int,
    seed: int = 0,
    save_every: int = 50,
    threads: int | None = None,
    init: Path | None = None,
) -> Path:
    """Train for `steps` in all; returns the file of the averaged weights, folder/brain_mask.pt.

    A run that was stopped ends with the weights of one that ran through, with as many threads. threads: of
    PyTorch; None: its default. init: the averaged weights of another run, to begin with.
    """
    with reproducible(torch.device("cpu"), threads):
        return _train(folder, steps, seed, save_every, init)


def _train(folder: Path, steps: int, seed: int, save_every: int, init: Path | None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    state_file, weights_file = folder / "state.pt", folder / "brain_mask.pt"
    template = CoarseTemplate(load_template())
    torch.manual_seed(seed)
    network, averaged = BrainMaskNet(), BrainMaskNet()
    if init is not None:
        network.load_state_dict(torch.load(init, weights_only=True))
    averaged.load_state_dict(network.state_dict())
    optimiser = torch.optim.AdamW(network.parameters(), LEARNING_RATE, weight_decay=1e-4)
    step = 0
    if state_file.is_file():
        state = torch.load(state_file, weights_only=True)
        network.load_state_dict(state["network"])
        averaged.load_state_dict(state["averaged"])
        optimiser.load_state_dict(state["optimiser"])
        step = state["step"]
    seeds = case_seeds(seed, steps)
    losses, started = [], time.perf_counter()
    while step < steps:
        head = make_coarse_head(template, seeds[step])
        for group in optimiser.param_groups:
            group["lr"] = scheduled(LEARNING_RATE, WARMUP, steps, step)
        with torch.autocast("cpu", torch.bfloat16):
            logits = network(scaled(head.image)[None, None])
        loss = loss_of(logits[0, 0].float(), head)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        average_into(averaged, network, EMA_DECAY, step)
        step += 1
        losses.append(loss.item())
        if step % save_every == 0 or step == steps:
            state = {"network": network.state_dict(), "averaged": averaged.state_dict()}
            write_tensors(state_file, state | {"optimiser": optimiser.state_dict(), "step": step})
            write_tensors(weights_file, averaged.state_dict())
            seconds = (time.perf_counter() - started) / len(losses)
            scores = validate(averaged, template) if step % (8 * save_every) == 0 or step == steps else {}
            _log(
                folder / "log.csv",
                {"step": step, "loss": float(np.mean(losses)), "seconds": seconds} | scores,
            )
            losses, started = [], time.perf_counter()
    return weights_file


def loss_of(logits: Tensor, head: CoarseHead) -> Tensor:
    """Cross entropy with the share of brain, more at its surface, and Dice; logits (D, H, W).

    Dice over squares is best where the shares agree; over sums, where every share above a half is 1.
    """
    brain, counts = head.brain, head.counts.float()
    edge = F.max_pool3d(brain[None, None], 3, 1, 1) - -F.max_pool3d(-brain[None, None], 3, 1, 1)
    weight = counts * (1 + EDGE_WEIGHT * edge[0, 0])
    entropy = F.binary_cross_entropy_with_logits(logits, brain, reduction="none")
    found = logits.sigmoid()
    overlap = 2 * (found * brain * counts).sum() / ((found**2 + brain**2) * counts).sum().clamp(min=1)
    return (entropy * weight).sum() / weight.sum().clamp(min=1) + 1 - overlap


@torch.inference_mode()
def validate(network: BrainMaskNet, template: CoarseTemplate) -> dict[str, float]:
    """Over heads that no training draws: Dice, and volume beyond and missing, in percent of the brain's."""
    rows = []
    for seed in case_seeds(VALIDATION_SEED, VALIDATION_HEADS):
        head = make_coarse_head(template, seed)
        found = network(scaled(head.image)[None, None])[0, 0].sigmoid() * head.counts
        brain = head.brain * head.counts
        volume = brain.sum().clamp(min=1)
        dice = 2 * torch.minimum(found, brain).sum() / (found.sum() + volume)
        beyond = (found - brain).clamp(min=0).sum() / volume
        missing = (brain - found).clamp(min=0).sum() / volume
        rows.append([dice.item(), 100 * beyond.item(), 100 * missing.item()])
    table = np.array(rows)
    return {
        "dice": float(table[:, 0].mean()),
        "worst dice": float(table[:, 0].min()),
        "beyond %": float(table[:, 1].mean()),
        "missing %": float(table[:, 2].mean()),
    }


def _log(path: Path, values: dict[str, float]) -> None:
    columns = ("step", "loss", "seconds", "dice", "worst dice", "beyond %", "missing %")
    new = not path.is_file()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, columns)
        if new:
            writer.writeheader()
        writer.writerow({name: f"{value:.5g}" for name, value in values.items()})

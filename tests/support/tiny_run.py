"""A training run of seconds, and what two runs of it have in common."""

import csv
from pathlib import Path

import torch

from msdk_export.training.run import BEST, LAST, METRICS, STATE
from msdk_export.training.settings import TrainingSettings
from tests.support.spheres import TINY

TINY_RUN = TrainingSettings(
    steps=12,
    window=(16, 16, 16),
    batch_size=2,
    network=TINY,
    learning_rate=5e-3,
    warmup_steps=3,
    validate_every=5,
    save_every=2,
    log_every=3,
    overlap=0.0,
    augmentation="strong",
    seed=3,
    threads=1,
    device="cpu",
)


def rows(out: Path) -> list[dict[str, str]]:
    """metrics.csv without the one column that a clock fills."""
    with open(out / METRICS, newline="") as file:
        return [{k: v for k, v in row.items() if k != "seconds a step"} for row in csv.DictReader(file)]


def assert_same_run(out: Path, other: Path) -> None:
    for name in (BEST, LAST):
        assert (out / name).read_bytes() == (other / name).read_bytes(), name
    states = [torch.load(folder / STATE, weights_only=True)["state"] for folder in (out, other)]
    torch.testing.assert_close(*states, rtol=0, atol=0)
    assert rows(out) == rows(other)

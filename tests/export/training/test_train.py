"""Training from beginning to end, and the settings that a run can have."""

import dataclasses
import json
import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import msdk_rt
from msdk_export.training.distillation import DistillationWeights
from msdk_export.training.optimisation import learning_rate
from msdk_export.training.run import BEST, LAST, METRICS, STATE, train
from msdk_export.training.settings import TrainingSettings
from msdk_rt.errors import CheckpointError, InputError, TrainingError
from tests.support.spheres import LABELS, TINY, nnunet
from tests.support.tiny_run import TINY_RUN, assert_same_run, rows


def test_what_a_run_writes(whole, data):
    assert {path.name for path in whole.iterdir()} == {BEST, LAST, METRICS, STATE, "settings.json"}
    found = rows(whole)
    assert [int(row["step"]) for row in found] == [3, 5, 6, 9, 10, 12, 12]
    trained = [row for row in found if row["loss"]]
    assert [int(row["step"]) for row in trained] == [3, 6, 9, 12]
    for row in trained:
        weights = DistillationWeights()
        terms = {name: float(row[name]) for name in ("fused", "heads", "distillation", "feature")}
        terms["distillation"] *= weights.distillation
        terms["feature"] *= weights.feature
        assert float(row["loss"]) == pytest.approx(sum(terms.values()), rel=1e-4)
    for row in found:
        if row["dice mean"]:
            dice = [float(row[f"dice {name}"]) for name in ("bright", "dark")]
            assert float(row["dice mean"]) == pytest.approx(np.mean(dice), abs=1e-5)
            assert {"hd95 bright", "hd95 dark"} <= row.keys()
    settings = json.loads((whole / "settings.json").read_text())
    assert settings["settings"]["steps"] == 12
    assert settings["labels"] == LABELS
    assert len(settings["training"]) == 2


def test_a_checkpoint_exports_without_further_arguments(whole, tmp_path):
    manifest = msdk_rt.export(whole / BEST, tmp_path / "model.onnx")
    assert manifest.labels == LABELS
    assert manifest.channels == ("m0",)
    assert manifest.window == (16, 16, 16)
    assert manifest.spacing == {"low": [1.0, 1.0, 1.5], "high": [1.0, 1.0, 1.5]}


def test_the_seed_decides(whole, data, tmp_path):
    train(data, tmp_path / "same", TINY_RUN)
    assert_same_run(whole, tmp_path / "same")
    short = dataclasses.replace(TINY_RUN, steps=2)
    for seed in (3, 4):
        train(data, tmp_path / str(seed), dataclasses.replace(short, seed=seed))
    first, second = (load_file(tmp_path / seed / LAST) for seed in "34")
    assert any(not torch.equal(first[name], second[name]) for name in first)


def test_learns_two_channels_in_nnunet_form(tmp_path):
    data = nnunet(tmp_path / "data", cases=4, channels=2)
    settings = dataclasses.replace(
        TINY_RUN,
        steps=60,
        batch_size=1,
        validate_every=60,
        augmentation="light",
        window=(24, 24, 24),
        learning_rate=1e-2,
    )
    result = train(data, tmp_path / "out", settings)
    found = rows(tmp_path / "out")
    print(f"mean Dice {result.dice:.3f}, loss {found[0]['loss']} to {found[-2]['loss']}")
    assert result.dice > 0.8
    assert result.best_step == 60
    assert float(found[-2]["loss"]) < 0.6 * float(found[0]["loss"])
    assert 0 <= float(found[-1]["hd95 bright"]) < 15


def test_init_starts_from_a_checkpoint(whole, data, tmp_path):
    settings = dataclasses.replace(
        TINY_RUN, steps=1, learning_rate=0.0, init=str(whole / LAST), ema_decay=0.0
    )
    train(data, tmp_path / "out", settings)
    first, second = load_file(whole / LAST), load_file(tmp_path / "out" / LAST)
    assert all(torch.equal(first[name], second[name]) for name in first)
    wider = dataclasses.replace(settings, network=TINY | {"dims": (8, 8)})
    with pytest.raises(CheckpointError, match="misshapen"):
        train(data, tmp_path / "wider", wider)


def test_a_loss_that_is_not_finite_ends_the_run(data, tmp_path):
    settings = dataclasses.replace(TINY_RUN, learning_rate=1e30, warmup_steps=0, gradient_clip=0)
    with pytest.raises(TrainingError) as error:
        train(data, tmp_path, settings)
    error.match("not finite before step .* lower learning rate")


@pytest.mark.parametrize("amp", ["bfloat16", "float16"])
def test_mixed_precision(whole, data, tmp_path, amp):
    train(data, tmp_path, dataclasses.replace(TINY_RUN, amp=amp, steps=3))
    loss = [float(rows(folder)[0]["loss"]) for folder in (whole, tmp_path)]
    assert loss[0] != loss[1]
    assert loss[0] == pytest.approx(loss[1], rel=0.02)


def test_the_learning_rate_rises_and_falls():
    settings = dataclasses.replace(TINY_RUN, steps=100, warmup_steps=10, learning_rate=2.0)
    rates = [learning_rate(settings, step) for step in range(100)]
    assert rates[0] == pytest.approx(0.2)
    assert rates[9] == rates[10] == 2.0
    assert all(a < b for a, b in pairwise(rates[:10]))
    assert all(a > b for a, b in pairwise(rates[10:]))
    assert rates[55] == pytest.approx(1 + math.cos(math.pi / 2))
    assert 0 < rates[99] < 0.01
    assert learning_rate(dataclasses.replace(settings, warmup_steps=500), 99) == 2.0


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"steps": 0}, "steps must be a whole number"),
        ({"window": (64, 64)}, "three sides"),
        ({"overlap": 1.0}, r"overlap must be in \[0, 1\)"),
        ({"learning_rate": math.nan}, "learning_rate"),
        ({"validation": 1.5}, "fraction below 1 or a whole number"),
        ({"mirror_axes": (3,)}, "mirror_axes"),
        ({"augmentation": "medium"}, "none, light, strong"),
        ({"amp": "int8"}, "amp must be one of"),
        ({"network": "huge"}, "demo, base"),
        ({"threads": 0}, "threads"),
        ({"cache": 2}, "cache"),
    ],
)
def test_settings_that_no_run_can_have(fields, message):
    with pytest.raises(InputError, match=message):
        TrainingSettings(**fields)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"network": {"width": 3}}, "MSDKMambaConfig"),
        ({"network": TINY | {"num_classes": 7}}, "num_classes 7, the dataset has 3"),
        ({"window": (18, 16, 16)}, "total stride"),
        ({"device": "cuda:99"}, "cannot be used here"),
        ({"device": "hal"}, "cannot be used here"),
    ],
)
def test_settings_that_do_not_fit(data, tmp_path, fields, message):
    with pytest.raises(InputError, match=message):
        train(data, tmp_path, dataclasses.replace(TINY_RUN, **fields))

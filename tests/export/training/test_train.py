"""Training from beginning to end, and from wherever it was stopped."""

import contextlib
import csv
import dataclasses
import errno
import io
import json
import math
import multiprocessing
import os
import random
import signal
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import msdk_rt
from msdk_export.training.distillation import DistillationWeights
from msdk_export.training.optimisation import Optimisation, learning_rate
from msdk_export.training.run import BEST, LAST, METRICS, STATE, _Run, train
from msdk_export.training.settings import TrainingSettings
from msdk_export.training.state import save_state
from msdk_rt.errors import CheckpointError, InputError, OutputError, TrainingError
from tests.support.spheres import LABELS, TINY, decathlon, nnunet

# Of the resumed run. The long form: MSDK_KILLS=10 pytest tests/export/training -k random_moments -s
KILLS = int(os.environ.get("MSDK_KILLS", "3"))
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


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return decathlon(tmp_path_factory.mktemp("spheres"), cases=3)


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory) -> Path:
    """TINY_RUN without interruption."""
    out = tmp_path_factory.mktemp("whole")
    train(data, out, TINY_RUN)
    return out


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


def test_killed_at_random_moments_ends_with_the_same_weights(whole, data, tmp_path):
    """Each child is forked from a server that has imported everything, so a start costs no import.

    A child is killed a random time after its first, second or third save, or before any.
    """
    settings = dataclasses.replace(TINY_RUN, steps=4 * KILLS)
    if settings != TINY_RUN:
        whole = tmp_path / "whole"
        train(data, whole, settings)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["msdk_export.training.run"])
    moments = random.Random(2026)
    out = tmp_path / "killed"
    reached = []
    for _ in range(KILLS):
        child = context.Process(target=train, args=(data, out, settings))
        child.start()
        wait_for_saves(out / STATE, moments.randrange(4), child)
        time.sleep(moments.uniform(0, 0.3))
        child.kill()
        child.join()
        saved = (out / STATE).exists()
        reached.append(torch.load(out / STATE, weights_only=True)["state"]["step"] if saved else 0)
    print(f"{KILLS} kills of {settings.steps} steps, saved steps {reached}")
    assert any(reached)
    child = context.Process(target=train, args=(data, out, settings))
    child.start()
    child.join()
    assert child.exitcode == 0
    assert_same_run(whole, out)
    assert not list(out.glob("*.part"))


def wait_for_saves(path: Path, count: int, child) -> None:
    def version() -> int:
        return path.stat().st_mtime_ns if path.exists() else 0

    seen = version()
    while count and child.is_alive():
        if version() != seen:
            seen, count = version(), count - 1
        time.sleep(0.005)


@pytest.mark.parametrize("moment", ["step", "validation", "early validation"])
def test_stopping_saves_and_the_same_command_goes_on(whole, data, tmp_path, monkeypatch, moment):
    at = {"step": 4, "validation": 5, "early validation": 0}[moment]
    method = "step" if moment == "step" else "predict"
    unhurt = getattr(Optimisation, method)
    done = []

    def interrupting(self, *arguments):
        result = unhurt(self, *arguments)
        steps = arguments[0] if moment == "step" else int(self.optimiser_steps())
        if steps == at and not done:
            done.append(signal.raise_signal(signal.SIGINT))
        return result

    monkeypatch.setattr(Optimisation, "optimiser_steps", _optimiser_steps, raising=False)
    monkeypatch.setattr(Optimisation, method, interrupting)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt, match=f"stopped at step {at + (moment == 'step')} of 12"):
        train(data, tmp_path, TINY_RUN)
    assert signal.getsignal(signal.SIGINT) is before
    monkeypatch.undo()
    train(data, tmp_path, TINY_RUN)
    assert_same_run(whole, tmp_path)


def _optimiser_steps(self):
    return next((float(entry["step"]) for entry in self.optimiser.state.values()), 0)


def test_killed_between_a_row_and_its_state_no_row_comes_twice(whole, data, tmp_path, monkeypatch):
    saved = []

    def save(self):
        if self.step == 5 and self.validated_at == 5:
            saved.append(self.step)
            raise OSError("killed here")
        unhurt(self)

    unhurt = _Run._save
    monkeypatch.setattr(_Run, "_save", save)
    with pytest.raises(OSError, match="killed here"):
        train(data, tmp_path, TINY_RUN)
    with open(tmp_path / METRICS, "a") as file:
        file.write("6,0.1")
    monkeypatch.undo()
    train(data, tmp_path, TINY_RUN)
    assert saved
    assert_same_run(whole, tmp_path)


def test_a_finished_run_stays_as_it_is(whole, data):
    before = (whole / STATE).stat().st_mtime_ns
    result = train(data, whole, dataclasses.replace(TINY_RUN, workers=2, cache=0.5))
    assert (result.steps, result.best) == (12, whole / BEST)
    assert (whole / STATE).stat().st_mtime_ns == before


def test_other_settings_are_refused_and_restart_begins_anew(data, tmp_path):
    short = dataclasses.replace(TINY_RUN, steps=2)
    train(data, tmp_path / "out", short)
    other = dataclasses.replace(short, learning_rate=1e-4, network=TINY | {"d_state": 3})
    with pytest.raises(InputError) as error:
        train(data, tmp_path / "out", other)
    error.match(r"learning_rate was 0\.005, now 0\.0001; settings\.network\.d_state was 2, now 3")
    with pytest.raises(InputError, match="dataset was"):
        train(decathlon(tmp_path / "x"), tmp_path / "out", short)
    assert train(data, tmp_path / "out", other, restart=True).steps == 2
    (tmp_path / "out" / STATE).unlink()
    with pytest.raises(OutputError, match=r"without the state\.pt"):
        train(data, tmp_path / "out", other)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x80\x04."])
def test_a_damaged_state_is_refused(data, tmp_path, content):
    (tmp_path / STATE).write_bytes(content)
    with pytest.raises(CheckpointError, match="begin again"):
        train(data, tmp_path, TINY_RUN)


def test_a_state_cannot_run_code(data, tmp_path):
    class Harmful:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "harm"),)

    torch.save({"format": 1, "identity": "{}", "state": Harmful()}, tmp_path / STATE)
    with pytest.raises(CheckpointError):
        train(data, tmp_path, TINY_RUN)
    assert not (tmp_path / "harm").exists()


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


class FullDisk(io.BytesIO):
    """Takes 5,000 bytes, then refuses as a full disk does."""

    def write(self, data) -> int:
        if self.tell() + len(data) > 5000:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(data)


def test_a_disk_that_is_full_when_the_state_is_saved(tmp_path, monkeypatch):
    """The file's own error reaches atomic_write; PyTorch's writer made a RuntimeError of it."""
    monkeypatch.setattr(
        "msdk_export.training.state.atomic_write", lambda *_: contextlib.nullcontext(FullDisk())
    )
    with pytest.raises(OSError, match="No space left"):
        save_state(tmp_path / STATE, {"weights": torch.zeros(9000)}, {})

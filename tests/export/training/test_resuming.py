"""Runs that were stopped: each ends as one that ran through, or is refused."""

import contextlib
import dataclasses
import errno
import io
import multiprocessing
import os
import random
import signal
import time
from pathlib import Path

import pytest
import torch

from msdk_export.training.optimisation import Optimisation
from msdk_export.training.run import BEST, METRICS, STATE, _Run, train
from msdk_export.training.state import save_state
from msdk_rt.errors import CheckpointError, InputError, OutputError
from tests.support.spheres import TINY, decathlon
from tests.support.tiny_run import TINY_RUN, assert_same_run

# Of the resumed run. The long form: MSDK_KILLS=10 pytest tests/export/training -k random_moments -s
KILLS = int(os.environ.get("MSDK_KILLS", "3"))


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

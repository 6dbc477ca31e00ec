"""The stages of a cohort overlap, keep their cases apart and end together."""

import json
import os
import signal
import threading
import time
import warnings

import numpy as np
import pytest

from msdk_rt.cohort import run as cohort_run
from msdk_rt.cohort.plan import plan
from msdk_rt.cohort.records import Request, model_of
from msdk_rt.cohort.run import run_case, run_cases
from msdk_rt.errors import InputError, OutputError
from msdk_rt.segmenter import Segmenter
from tests.runtime.cohort.folders import images_in, run, write_scan


@pytest.fixture
def scans(tmp_path):
    folder = tmp_path / "scans"
    folder.mkdir()
    for index in range(4):
        write_scan(folder / f"{index}.nii.gz", index)
    return folder


@pytest.fixture
def segmenter(artifact):
    with Segmenter(artifact, threads=1) as opened:
        yield opened


def request_of(segmenter):
    return Request(model_of(segmenter.manifest), {}, {}, segmenter.manifest.labels)


def cases_of(scans, out):
    return plan([scans], ["m0"], out).cases


def test_one_by_one_and_overlapped_are_the_same(segmenter, scans, tmp_path):
    alone, together = (cases_of(scans, tmp_path / name) for name in ("alone", "together"))
    request = request_of(segmenter)
    one_by_one = [run_case(segmenter, case, request) for case in alone]
    overlapped = list(run_cases(segmenter, together, request))
    assert [outcome.case.name for outcome in overlapped] == ["0", "1", "2", "3"]
    assert [outcome.record for outcome in overlapped] == [outcome.record for outcome in one_by_one]
    for path in (tmp_path / "alone").glob("*.nii.gz"):
        assert path.read_bytes() == (tmp_path / "together" / path.name).read_bytes()


def test_reading_and_writing_go_on_while_the_network_runs(segmenter, scans, tmp_path, monkeypatch):
    """The second inference ends only when the third case was read and the first one written."""
    read, written = threading.Event(), threading.Event()
    real_read, real_write, real_run = cohort_run.read_volume, cohort_run.write_result, segmenter.run
    calls = []

    def reads(paths, *more):
        volume = real_read(paths, *more)
        if paths[0].name == "2.nii.gz":
            read.set()
        return volume

    def writes(*arguments):
        record = real_write(*arguments)
        written.set()
        return record

    def runs(*arguments, **settings):
        calls.append(1)
        if len(calls) == 2:
            assert read.wait(30)
            assert written.wait(30)
        return real_run(*arguments, **settings)

    monkeypatch.setattr(cohort_run, "read_volume", reads)
    monkeypatch.setattr(cohort_run, "write_result", writes)
    monkeypatch.setattr(segmenter, "run", runs)
    outcomes = list(run_cases(segmenter, cases_of(scans, tmp_path / "out"), request_of(segmenter)))
    assert not any(outcome.error for outcome in outcomes)


def test_at_most_one_case_is_read_ahead(segmenter, scans, tmp_path, monkeypatch):
    order = []
    real_read, real_run = cohort_run.read_volume, segmenter.run

    def reads(paths, *more):
        order.append(f"read {paths[0].name[0]}")
        return real_read(paths, *more)

    def runs(*arguments, **settings):
        time.sleep(0.2)
        order.append("run")
        return real_run(*arguments, **settings)

    monkeypatch.setattr(cohort_run, "read_volume", reads)
    monkeypatch.setattr(segmenter, "run", runs)
    list(run_cases(segmenter, cases_of(scans, tmp_path / "out"), request_of(segmenter)))
    for position, entry in enumerate(order):
        if entry != "run":
            assert int(entry[-1]) <= order[:position].count("run") + 1


def test_errors_and_warnings_keep_their_case(segmenter, scans, tmp_path, monkeypatch):
    real_read, real_run = cohort_run.read_volume, segmenter.run
    runs = []

    def reads(paths, *more):
        warnings.warn(f"read {paths[0].name[0]}", stacklevel=1)
        if paths[0].name == "1.nii.gz":
            raise InputError("sick")
        return real_read(paths, *more)

    def infers(*arguments, **settings):
        runs.append(1)
        warnings.warn(f"inference {len(runs)}", stacklevel=1)
        if len(runs) == 2:
            raise MemoryError
        return real_run(*arguments, **settings)

    monkeypatch.setattr(cohort_run, "read_volume", reads)
    monkeypatch.setattr(segmenter, "run", infers)
    said = []
    outcomes = list(
        run_cases(segmenter, cases_of(scans, tmp_path / "out"), request_of(segmenter), said.append)
    )
    assert [outcome.error for outcome in outcomes] == [
        *("", "sick", "not enough memory (none said how much): crop or resample it", "")
    ]
    assert [outcome.record.get("warnings") for outcome in outcomes] == [
        *(["read 0", "inference 1"], None, None, ["read 3", "inference 3"])
    ]
    assert sorted(line[0] for line in said) == ["0", "1", "2", "3"]


def test_a_case_too_large_beside_others_is_read_again_alone(segmenter, scans, tmp_path, monkeypatch):
    real_read = cohort_run.read_volume
    tries = []

    def reads(paths, *more):
        if paths[0].name == "2.nii.gz":
            tries.append(threading.current_thread().name)
            if len(tries) == 1:
                raise MemoryError
        return real_read(paths, *more)

    monkeypatch.setattr(cohort_run, "read_volume", reads)
    outcomes = list(run_cases(segmenter, cases_of(scans, tmp_path / "out"), request_of(segmenter)))
    assert not any(outcome.error for outcome in outcomes)
    assert [name.startswith("msdk-read") for name in tries] == [True, False]


def test_a_full_disk_ends_the_run(segmenter, scans, tmp_path, monkeypatch):
    def full(*arguments):
        raise OutputError("no space")

    monkeypatch.setattr(cohort_run, "write_result", full)
    with pytest.raises(OutputError, match="no space"):
        list(run_cases(segmenter, cases_of(scans, tmp_path / "out"), request_of(segmenter)))
    assert images_in(tmp_path / "out") == []


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_a_result_is_written(artifact, scans, tmp_path, monkeypatch, capsys, sent):
    """What the network has finished is written whole; nothing else is there."""
    real_write = cohort_run.write_result

    def writes(case, *more):
        os.kill(os.getpid(), sent)
        time.sleep(0.3)
        return real_write(case, *more)

    monkeypatch.setattr(cohort_run, "write_result", writes)
    out = tmp_path / "out"
    assert run(artifact, scans, "-o", out, "--overlap", 0.8) == 1
    assert "interrupted" in capsys.readouterr().err
    assert images_in(out) == ["0.nii.gz"]
    assert not list(out.glob(".msdk-*"))
    monkeypatch.undo()
    assert run(artifact, scans, "-o", out, "--overlap", 0.8, "--json") == 0
    assert [case.get("kept") for case in json.loads(capsys.readouterr().out)["cases"]] == [True, *[None] * 3]


def test_what_the_network_sees_is_what_was_read(segmenter, scans):
    """A Volume gives what its files give."""
    from msdk_rt.imaging.volumes import read_volume

    volume = read_volume([scans / "0.nii.gz"])
    of_files, of_volume = segmenter.run(scans / "0.nii.gz"), segmenter.run(volume)
    np.testing.assert_array_equal(of_files.labels, of_volume.labels)
    assert segmenter.run([volume, volume])[1].space.shape == of_files.space.shape

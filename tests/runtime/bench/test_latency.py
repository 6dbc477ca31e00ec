"""msdk-rt bench: statistics of times, turns, and whether other programs were in the way."""

import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from msdk_rt.bench.latency import TURN, Latency, take_turns
from msdk_rt.bench.waiting import ProcessorWait, settle
from msdk_rt.inference.stages import Stages


@given(st.lists(st.floats(1e-6, 1e3), min_size=2, max_size=700))
def test_a_latency_says_what_numpy_says_and_no_more_than_its_sample_can(seconds):
    latency = Latency(seconds)
    assert latency.quantile(50) == pytest.approx(np.median(seconds))
    assert latency.variation == pytest.approx(np.std(seconds, ddof=1) / np.mean(seconds))
    for percent in (90, 95, 99):
        if len(seconds) * (100 - percent) >= 500:
            assert latency.quantile(percent) == pytest.approx(np.percentile(seconds, percent))
        else:
            assert latency.quantile(percent) is None


def test_a_small_sample_is_called_unstable():
    assert Latency([1.0]).unstable
    assert Latency([1.0, 1.0, 1.0]).unstable is False
    assert Latency([1.0, 1.1, 0.9]).unstable is True
    assert Latency().summary()["p50_ms"] is None


def test_contestants_take_turns_and_an_early_end_keeps_what_was_measured():
    calls, latencies = [], [Latency(), Latency()]

    def run(name, seconds):
        calls.append(name)
        if len(calls) > 9:
            raise KeyboardInterrupt
        time.sleep(seconds)

    runs = [lambda: run("slow", TURN), lambda: run("quick", 0.34 * TURN)]
    with pytest.raises(KeyboardInterrupt):
        take_turns(runs, latencies, warm_up=0, seconds=99, limit=99)
    turn = ["slow", *["quick"] * 3]
    assert calls == ["slow", "quick", *turn, *turn]
    assert [len(latency.seconds) for latency in latencies] == [2, 5]


def test_a_slow_contestant_stops_at_the_limit_and_a_quick_one_at_a_hundred():
    slow, quick = latencies = [Latency(), Latency()]
    take_turns([lambda: time.sleep(0.02), lambda: None], latencies, warm_up=0, seconds=0, limit=0.1)
    assert 2 <= len(slow.seconds) <= 5
    assert len(quick.seconds) == 100


def test_a_turn_begins_when_the_threads_of_the_one_before_rest():
    stop = threading.Event()

    def spin():
        while not stop.is_set():
            pass

    threading.Timer(0.1, stop.set).start()
    threading.Thread(target=spin).start()
    started = time.perf_counter()
    settle(longest=10)
    assert stop.is_set()
    assert time.perf_counter() - started < 9
    settle(longest=0)


def test_the_wait_for_a_processor_is_a_share_over_all_threads(tmp_path):
    def write(thread, ran, waited):
        (tmp_path / thread).mkdir(exist_ok=True)
        (tmp_path / thread / "schedstat").write_text(f"{ran} {waited} 7\n")

    write("10", 5_000, 9_000)
    write("11", 100, 0)
    wait = ProcessorWait(tmp_path)
    assert wait.share() is None
    write("10", 5_600, 9_300)
    write("12", 0, 100)
    assert wait.share() == pytest.approx(400 / 1000)
    assert ProcessorWait(tmp_path / "none").share() is None


CROWD = """
import os, threading, time, zlib
from msdk_rt.bench.waiting import ProcessorWait
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
threads = [threading.Thread(target=zlib.compress, args=(bytes(1 << 24), 9)) for _ in range(4)]
wait = ProcessorWait()
for thread in threads:  # each outside the interpreter's lock
    thread.start()
time.sleep(0.1)
print(wait.share())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts how long a thread waits")
def test_threads_that_share_one_processor_wait_for_it():
    out = subprocess.run([sys.executable, "-c", CROWD], capture_output=True, text=True, check=True).stdout
    assert 0.3 < float(out) < 1


def test_stages_add_up_and_count_what_fails():
    stages = Stages()
    for _ in range(2):
        with stages("sleep"):
            time.sleep(0.01)
    with pytest.raises(ZeroDivisionError), stages("fail"):
        _ = 1 / 0
    assert list(stages.seconds) == ["sleep", "fail"]
    assert stages.seconds["sleep"] >= 0.02

"""What the machine takes for a race, a read of nothing, a barrier: on small kernels written by hand."""

import os
import subprocess
import sys

import numpy as np
import pytest

from tests.ptx_machine.hand_written import HandWritten

# Every thread writes its word of shared memory, then reads that of its number xor `partner`.
WRITE_THEN_READ = """
.entry exchange(.param .u64 out, .param .u32 partner) {{
  .reg .b32 %r<9>; .reg .b64 %rd<4>; .reg .pred %p<3>;
  .shared .align 4 .b8 words[512];
  ld.param.u64 %rd1, [out];
  ld.param.u32 %r1, [partner];
  mov.u32 %r2, %tid.x;
  shl.b32 %r3, %r2, 2;
  mov.u32 %r4, words;
  add.s32 %r5, %r4, %r3;
  xor.b32 %r6, %r2, %r1;
  shl.b32 %r6, %r6, 2;
  add.s32 %r6, %r4, %r6;
  and.b32 %r8, %r2, 16;
  shl.b32 %r8, 65535, %r8;
  {first}
  {between}
  {second}
  cvt.u64.u32 %rd2, %r3;
  add.s64 %rd3, %rd1, %rd2;
  st.global.u32 [%rd3], %r7;
  ret;
}}
"""
WRITE, READ = "st.shared.u32 [%r5], %r2;", "ld.shared.u32 %r7, [%r6];"
BLOCK, WARP, HALF_WARP = "bar.sync 0;", "bar.warp.sync -1;", "bar.warp.sync %r8;"
RACE = "a race in shared memory"


def exchange(device, folder, first, between, second, partner):
    kernel = HandWritten(WRITE_THEN_READ.format(first=first, between=between, second=second), folder)
    out = device.empty((64,), np.uint32)
    return kernel.launch(64, out, partner), out.get()


@pytest.mark.parametrize(
    ("between", "partner", "ordered"),
    [
        (BLOCK, 1, True),
        (BLOCK, 32, True),
        (WARP, 1, True),
        (WARP, 31, True),
        (WARP, 32, False),
        (HALF_WARP, 1, True),
        (HALF_WARP, 16, False),
        ("", 1, False),
        ("", 0, True),
    ],
)
def test_a_barrier_orders_the_threads_that_come_to_it(device, folder, between, partner, ordered):
    """A word is written by one thread and read by another, or read by one and written by the other."""
    sentence, out = exchange(device, folder, WRITE, between, READ, partner)
    read_first, _ = exchange(device, folder, f"{WRITE} {BLOCK} {READ}", between, WRITE, partner)
    if ordered:
        assert (sentence, read_first) == ("", "")
        np.testing.assert_array_equal(out, np.arange(64) ^ partner)
    else:
        assert RACE in sentence or "where no thread has written" in sentence
        assert RACE in read_first


def test_of_several_readers_any_is_in_a_race_with_a_writer(device, folder):
    """All read word 0, which thread 0 writes after a barrier of its warp: the other warp may still read."""
    first = f"{WRITE} {BLOCK} ld.shared.u32 %r7, [words];"
    second = "setp.eq.u32 %p1, %r2, 0; @%p1 st.shared.u32 [%r5], %r2;"
    sentence, _ = exchange(device, folder, first, WARP, second, 0)
    assert f"{RACE}: `words` was read by a thread of warp" in sentence
    sentence, _ = exchange(device, folder, first, BLOCK, second, 0)
    assert sentence == ""


def test_a_fault_says_where(device, folder):
    sentence, _ = exchange(device, folder, WRITE, BLOCK, "ld.shared.u32 %r7, [words+508]; " + READ, 0)
    assert (
        "a read of `words` in shared memory where no thread has written: block (0, 0, 0), thread ("
        in sentence
    )
    assert "of exchange, at line" in sentence
    assert sentence.endswith("ld.shared.u32 %r7, [words+508]")


@pytest.mark.parametrize("reached", [True, False])
def test_a_trap_is_reported_where_a_thread_comes_to_it(device, folder, reached):
    trap = f"setp.gt.u32 %p1, %r2, {62 if reached else 63}; @%p1 trap;"
    sentence, _ = exchange(device, folder, WRITE, f"{BLOCK} {trap}", READ, 0)
    assert ("a trap: block (0, 0, 0), thread (63, 0, 0)" in sentence) == bool(sentence) == reached


TICKETS = """
.entry tickets(.param .u64 counter, .param .u64 out) {
  .reg .b32 %r<4>; .reg .b64 %rd<5>;
  ld.param.u64 %rd1, [counter];
  ld.param.u64 %rd2, [out];
  atom.global.add.u32 %r1, [%rd1], 1;
  mov.u32 %r2, %tid.x;
  mul.wide.u32 %rd3, %r2, 4;
  add.s64 %rd4, %rd2, %rd3;
  st.global.u32 [%rd4], %r1;
}
"""


def tickets(device, folder):
    """The order in which 64 threads ran."""
    kernel = HandWritten(TICKETS, folder)
    counter, out = device.put(np.zeros(1, np.uint32)), device.empty((64,), np.uint32)
    assert kernel.launch(64, counter, out) == ""
    return out.get()


def test_threads_run_in_random_order(device, folder):
    first, second = tickets(device, folder), tickets(device, folder)
    np.testing.assert_array_equal(np.sort(first), np.arange(64))
    assert (first != second).any()


def test_a_seed_is_told_and_repeats_the_order(device, folder):
    code = (
        "import sys; from pathlib import Path; from tests.gpu.device import Device; "
        "from tests.ptx_machine.test_races import tickets; "
        "print(*tickets(Device(Path(sys.argv[1])), Path(sys.argv[2])))"
    )
    runs = []
    for seed in ("7", "7", "8"):
        command = [sys.executable, "-c", code, device.folder, folder]
        environment = {**os.environ, "PTX_MACHINE_SEED": seed}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        assert f"PTX_MACHINE_SEED={seed} repeats it" in done.stderr
        runs.append(done.stdout)
    assert runs[0] == runs[1] != runs[2]


SHUFFLE = """
.entry shuffle(.param .u64 out) {{
  .reg .b32 %r<9>; .reg .b64 %rd<4>; .reg .pred %p<3>;
  ld.param.u64 %rd1, [out];
  mov.u32 %r1, %tid.x;
  shfl.sync.{mode}.b32 %r2|%p1, %r1, {by}, {clamp}, {mask};
  selp.u32 %r3, %r2, 99, %p1;
  mul.wide.u32 %rd2, %r1, 4;
  add.s64 %rd3, %rd1, %rd2;
  st.global.u32 [%rd3], %r3;
}}
"""


@pytest.mark.parametrize(
    ("mode", "by", "clamp", "expected"),
    [
        ("bfly", 3, 31, lambda lane: lane ^ 3),
        ("down", 2, 31, lambda lane: lane + 2 if lane < 30 else 99),
        ("up", 2, 0, lambda lane: lane - 2 if lane >= 2 else 99),
        ("idx", 5, 31, lambda lane: 5),
        ("down", 1, 0x181F, lambda lane: lane + 1 if lane % 8 < 7 else 99),  # in segments of 8 lanes
    ],
)
def test_shuffles_take_the_value_of_the_right_lane(device, folder, mode, by, clamp, expected):
    kernel = HandWritten(SHUFFLE.format(mode=mode, by=by, clamp=clamp, mask=-1), folder)
    out = device.empty((32,), np.uint32)
    assert kernel.launch(32, out) == ""
    np.testing.assert_array_equal(out.get(), [expected(lane) for lane in range(32)])


@pytest.mark.parametrize(
    ("mask", "threads", "words"),
    [
        (0xFFFF, 32, "the mask 0x0000ffff leaves out the lane that waits"),
        (-1, 16, "a shuffle from lane 16, which takes no part in it"),
    ],
)
def test_a_shuffle_with_the_wrong_lanes_is_reported(device, folder, mask, threads, words):
    kernel = HandWritten(SHUFFLE.format(mode="bfly", by=16, clamp=31, mask=mask), folder)
    assert words in kernel.launch(threads, device.empty((32,), np.uint32))

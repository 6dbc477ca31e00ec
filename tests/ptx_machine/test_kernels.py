"""A slice of `make ptx-check`: the PTX of the project's kernels, executed, and faults planted in them."""

import ctypes
import re

import numpy as np
import pytest

from tests.gpu import op_checks, volume_checks
from tests.gpu.device import Device, DeviceError
from tests.ptx_machine.build import GPU, Change, build
from tests.ptx_machine.every_kernel import EVERY_KERNEL
from tests.ptx_machine.faults import FAULTS, report_of
from tests.support.cases import ScanCase
from tests.support.grids import conv_grid, instance_norm_grid, kan_grid, scan_grid, token_norm_grid

DTYPES = (np.float32, np.float16)
SCAN_CASES = [case for case in scan_grid(20_000, seed=1) if case.updates <= 20_000][::4]
CONV_CASES = [case for case in conv_grid(seed=1) if case.B * case.K * case.D * case.L <= 10_000][::4]
KAN_CASES = [case for case in kan_grid(seed=1) if case.B * case.C * case.O * case.L * case.G <= 200_000][::4]
TOKEN_NORM_CASES = token_norm_grid(seed=1)[::4]
INSTANCE_NORM_CASES = [case for case in instance_norm_grid(seed=1) if np.prod(case.sides) <= 30_000][::2]
CASE = ScanCase(
    B=1, K=2, D=5, L=402, N=8, R=3, directions="forward,backward", has_z=True, scale=1.0, seed=64,
    extreme=False,
)  # fmt: skip


@pytest.fixture(scope="module")
def ops(device):
    return op_checks.Ops(device)


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize(
    ("check", "cases"),
    [
        (op_checks.check_scan, SCAN_CASES),
        (op_checks.check_conv, CONV_CASES),
        (op_checks.check_kan, KAN_CASES),
        (op_checks.check_token_norm, TOKEN_NORM_CASES),
        (op_checks.check_instance_norm, INSTANCE_NORM_CASES),
    ],
    ids=["scan", "conv", "kan", "token norm", "instance norm"],
)
def test_ops_agree_with_the_oracle(ops, check, cases, dtype):
    assert len(cases) > 5
    for case in cases:
        check(ops, case, dtype)


@pytest.mark.parametrize("source", EVERY_KERNEL, ids=lambda source: source.parent.name)
def test_the_mutants_checks_pass_on_sound_kernels(device, source):
    EVERY_KERNEL[source][1](device)


@pytest.mark.parametrize("check", volume_checks.CHECKS, ids=lambda check: check.__name__)
def test_volume_kernels_do_what_numpy_does(device, check):
    assert check(device) > 0


def test_a_scan_repeats_bit_for_bit_in_other_orders_of_threads(ops):
    assert op_checks.check_repeats(ops, CASE, 2) == 2


def test_a_captured_scan_replays(ops):
    assert op_checks.check_graph(ops, CASE) == 3


def test_a_fill_that_nobody_waits_for_overtakes_a_replay(folder):
    """A planted fault of device.cu: the legacy stream still fills while a stream that ignores it works."""
    source, changed = GPU / "device.cu", folder / "device.cu"
    wait = "error == cudaSuccess ? cudaStreamSynchronize(nullptr) : error"
    assert source.read_text().count(wait) == 2
    changed.write_text(source.read_text().replace(wait, "error"))
    ops = op_checks.Ops(Device(build(folder, change=Change(replaced=((source, changed),)))))
    with pytest.raises(AssertionError):
        op_checks.check_graph(ops, CASE)


@pytest.mark.parametrize("call", ["allocate", "release", "synchronize"])
def test_a_call_that_a_capture_forbids_is_refused_and_breaks_it(device, call):
    runtime, stream, pointer = device.runtime, ctypes.c_void_p(), ctypes.c_void_p()
    array = device.empty((4,))
    runtime.check_stream(ctypes.byref(stream))
    runtime.check_capture(stream)
    arguments = {"allocate": (ctypes.byref(pointer), ctypes.c_size_t(4)), "release": (array,)}.get(call, ())
    with pytest.raises(DeviceError, match="not permitted when stream is capturing"):
        getattr(runtime, f"check_{call}")(*arguments)
    with pytest.raises(DeviceError, match="failed due to a previous error during capture"):
        runtime.check_replay(stream, 1)


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault.in_slice], ids=lambda fault: fault.name)
def test_a_planted_fault_is_reported(fault, folder):
    report = report_of(fault.source, fault.plant(folder))
    assert report
    assert re.search(fault.reported, report), report

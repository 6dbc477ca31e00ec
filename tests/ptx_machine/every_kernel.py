"""For each source of kernels, small cases that run every kernel that is in it, in both types."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from tests.gpu import op_checks, volume_checks
from tests.gpu.device import Device
from tests.ptx_machine.faults import (
    CONV,
    CONV_CASE,
    KAN,
    KAN_CASE,
    NEIGHBOURS_CASE,
    NORMALIZE,
    SCAN,
    SCAN_CASE,
)
from tests.support.cases import ConvCase, InstanceNormCase, KanCase, TokenNormCase

TOKEN_NORM = SCAN.parents[1] / "token_norm" / "cuda.cu"
INSTANCE_NORM = SCAN.parents[1] / "instance_norm" / "cuda.cu"
# Directions with slices and without, many taps; the kernel of neighbours.
CONV_CASES = (
    CONV_CASE,
    ConvCase(B=2, K=4, D=3, L=1044, W=11, directions="backward,slices:6:backward,slices:6,forward", seed=60),
    replace(CONV_CASE, K=2, L=1496, directions="forward,backward"),
)
# Rows for one turn of the kernels' loops and for several; a channel of 65 rows; two tiles of outputs.
KAN_CASES = (
    KAN_CASE,
    KanCase(B=2, C=30, O=101, L=133, G=5, grid_min=-2.0, grid_max=1.5, seed=67),
    KanCase(B=1, C=3, O=9, L=20, G=64, grid_min=-1.0, grid_max=1.0, seed=68),
)
SLICES = replace(SCAN_CASE, K=4, D=39, L=99, directions="forward,slices:3,backward,slices:3:backward")
# Blocks of 16 states and of 8, dt in one load or two and beyond 32 rows, tokens one by one and by fours, with
# slices and a gate and without; the kernels of neighbours by their rows of dt, and with two blocks of states.
SCAN_CASES = (
    *(replace(SCAN_CASE, N=states, R=rank) for states, rank in itertools.product((17, 16, 8), (3, 9))),
    *(replace(SCAN_CASE, D=39, L=200, N=states, R=39) for states in (16, 24)),
    *(
        replace(SLICES, B=1 + gate, N=states, R=rank, has_z=gate)
        for (states, rank), gate in itertools.product(((16, 39), (12, 38)), (False, True))
    ),
    *(replace(NEIGHBOURS_CASE, R=rank) for rank in (3, 6, 8)),
    replace(NEIGHBOURS_CASE, B=2, L=200, N=32, has_z=False),
)
TOKEN_NORM_CASES = (TokenNormCase(B=2, C=11, L=45, seed=65), TokenNormCase(B=1, C=131, L=33, seed=65))
# A map in one block, a few voxels of a thread and many; in four blocks, and in ten.
MAPS = ((3, 5, 7), (15, 16, 17), (23, 24, 25))
INSTANCE_NORM_CASES = (
    *(
        InstanceNormCase(1, 2, sides, -10.0, has_addend, activation, seed=66)
        for sides, has_addend, activation in itertools.product(
            MAPS, (False, True), ("none", "relu", "leaky_relu")
        )
    ),
    InstanceNormCase(1, 2, (40, 30, 31), -10.0, True, "relu", seed=66),
)


def _of(check: Callable[[op_checks.Ops, object, object], None], cases: tuple) -> Callable[[Device], None]:
    def run(device: Device) -> None:
        ops = op_checks.Ops(device)
        for case, dtype in itertools.product(cases, (np.float32, np.float16)):
            check(ops, case, dtype)

    return run


def _normalize(device: Device) -> None:
    volume_checks.check_normalize(device)
    volume_checks.check_counting(device)


EVERY_KERNEL: dict[Path, tuple[str, Callable[[Device], None]]] = {
    CONV: ("check_ops", _of(op_checks.check_conv, CONV_CASES)),
    KAN: ("check_ops", _of(op_checks.check_kan, KAN_CASES)),
    SCAN: ("check_ops", _of(op_checks.check_scan, SCAN_CASES)),
    TOKEN_NORM: ("check_ops", _of(op_checks.check_token_norm, TOKEN_NORM_CASES)),
    INSTANCE_NORM: ("check_ops", _of(op_checks.check_instance_norm, INSTANCE_NORM_CASES)),
    NORMALIZE: ("msdk_volume", _normalize),
}

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
from tests.support.cases import InstanceNormCase, KanCase, TokenNormCase

TOKEN_NORM = SCAN.parents[1] / "token_norm" / "cuda.cu"
INSTANCE_NORM = SCAN.parents[1] / "instance_norm" / "cuda.cu"
CONV_CASES = (CONV_CASE, replace(CONV_CASE, K=2, L=1496, directions="forward,backward"))  # of neighbours
# Rows for one turn of the kernels' loops and for several; a channel of 65 rows; two tiles of outputs.
KAN_CASES = (
    KAN_CASE,
    KanCase(B=2, C=30, O=101, L=133, G=5, grid_min=-2.0, grid_max=1.5, seed=67),
    KanCase(B=1, C=3, O=9, L=20, G=64, grid_min=-1.0, grid_max=1.0, seed=68),
)
# Blocks of 16 states and of 8, dt in one load or two; the kernels of neighbours by their rows of dt.
SCAN_CASES = (
    *(replace(SCAN_CASE, N=states, R=rank) for states, rank in itertools.product((17, 8), (3, 9))),
    *(replace(NEIGHBOURS_CASE, R=rank) for rank in (3, 6, 8)),
)
TOKEN_NORM_CASES = (TokenNormCase(B=2, C=11, L=45, seed=65),)
INSTANCE_NORM_CASES = tuple(  # a map in one block, and in two
    InstanceNormCase(1, 2, sides, -10.0, True, activation, seed=66)
    for sides, activation in (((3, 5, 7), "relu"), ((17, 16, 16), "leaky_relu"))
)


def _of(check: Callable[[op_checks.Ops, object, object], None], cases: tuple) -> Callable[[Device], None]:
    def run(device: Device) -> None:
        ops = op_checks.Ops(device)
        for case, dtype in itertools.product(cases, (np.float32, np.float16)):
            check(ops, case, dtype)

    return run


EVERY_KERNEL: dict[Path, tuple[str, Callable[[Device], None]]] = {
    CONV: ("check_ops", _of(op_checks.check_conv, CONV_CASES)),
    KAN: ("check_ops", _of(op_checks.check_kan, KAN_CASES)),
    SCAN: ("check_ops", _of(op_checks.check_scan, SCAN_CASES)),
    TOKEN_NORM: ("check_ops", _of(op_checks.check_token_norm, TOKEN_NORM_CASES)),
    INSTANCE_NORM: ("check_ops", _of(op_checks.check_instance_norm, INSTANCE_NORM_CASES)),
    NORMALIZE: ("msdk_volume", volume_checks.check_normalize),
}

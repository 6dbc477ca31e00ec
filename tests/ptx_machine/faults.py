"""Faults to plant in the project's kernels, each with the words that the machine must report it with.

A fault is an edit of a source, which nvcc then compiles, or of the PTX that nvcc emitted.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tests.gpu import op_checks, volume_checks
from tests.gpu.device import Device, DeviceError
from tests.ptx_machine.build import PLUGINS, Change, build
from tests.support.cases import ConvCase, KanCase, ScanCase

CONV = PLUGINS / "ops/directional_conv1d/cuda.cu"
KAN = PLUGINS / "ops/kan_linear/cuda.cu"
SCAN = PLUGINS / "ops/selective_scan/cuda.cu"
NORMALIZE = PLUGINS / "volume/normalize.cu"
WITHOUT_BARRIER = (
    "race in shared memory|in shared memory where no thread has written"  # by the order of threads
)
# Two tiles of tokens; more channels than a block takes at once; several chunks.
CONV_CASE = ConvCase(B=1, K=3, D=2, L=1500, W=4, directions="forward,backward,slices:4", seed=61)
KAN_CASE = KanCase(B=1, C=9, O=5, L=70, G=8, grid_min=-1.0, grid_max=1.0, seed=62)
SCAN_CASE = ScanCase(
    B=1, K=2, D=3, L=402, N=16, R=3, directions="forward,backward", has_z=True, scale=0.5, seed=63,
    extreme=False,
)  # fmt: skip


NEIGHBOURS_CASE = replace(SCAN_CASE, D=40, L=400)  # which has kernels of its own


def check_conv(device: Device) -> None:
    op_checks.check_conv(op_checks.Ops(device), CONV_CASE, np.float32)


def check_kan(device: Device) -> None:
    op_checks.check_kan(op_checks.Ops(device), KAN_CASE, np.float32)


def check_scan(device: Device) -> None:
    for case in (SCAN_CASE, NEIGHBOURS_CASE):
        op_checks.check_scan(op_checks.Ops(device), case, np.float32)


def check_normalize(device: Device) -> None:
    volume_checks.check_normalize(device)


Check = Callable[[Device], None]
CHECKS: dict[Path, tuple[str, Check]] = {
    CONV: ("check_ops", check_conv),
    KAN: ("check_ops", check_kan),
    SCAN: ("check_ops", check_scan),
    NORMALIZE: ("msdk_volume", check_normalize),
}


@dataclass(frozen=True)
class Fault:
    """`right` is replaced by `wrong` once: in the source, or in its PTX, where right is a pattern.

    `in_slice`: `make test` plants it too, not only `make ptx-check`.
    """

    name: str
    source: Path
    right: str
    wrong: str
    reported: str
    in_ptx: bool = False
    in_slice: bool = True

    def plant(self, folder: Path) -> Path:
        """Builds the kernels with the fault into the folder."""
        library, _ = CHECKS[self.source]
        if self.in_ptx:
            return build(folder, ["check_device", library], Change(edit=self.edit, edited=self.source))
        text = self.source.read_text()
        if text.count(self.right) != 1:
            raise ValueError(f"the place of the fault `{self.name}` is gone: plant it again")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / self.source.name).write_text(text.replace(self.right, self.wrong))
        change = Change(replaced=((self.source, folder / self.source.name),))
        return build(folder, ["check_device", library], change)

    def edit(self, ptx: str) -> str:
        edited, count = re.subn(self.right, self.wrong, ptx, count=1)
        if count != 1:
            raise ValueError(f"the place of the fault `{self.name}` is gone: plant it again")
        return edited


def report_of(source: Path, folder: Path, check: Check | None = None) -> str | None:
    """What is wrong with the kernels built into the folder: a fault's sentence, wrong results, or None.

    check: in place of the source's own of CHECKS.
    """
    return report_on(Device(folder), check or CHECKS[source][1])


def report_on(device: Device, check: Check) -> str | None:
    try:
        check(device)
    except (DeviceError, AssertionError) as error:
        return f"{type(error).__name__}: {error}"
    return None


FAULTS = (
    Fault("a barrier of a block removed", CONV, r"bar\.sync[^;]*;", "", WITHOUT_BARRIER, in_ptx=True),
    Fault(
        "a barrier of a warp removed",
        SCAN,
        r"bar\.warp\.sync[^;]*;",
        "",
        WITHOUT_BARRIER,
        in_ptx=True,
        in_slice=False,
    ),
    Fault(
        "a barrier between the warps of a scan removed",
        SCAN,
        r"(\.entry \w*neighbour_outputsIfLi4E[\s\S]*?)bar\.sync[^;]*;",
        r"\1",
        WITHOUT_BARRIER,
        in_ptx=True,
        in_slice=False,
    ),
    Fault(
        "two threads write one place of shared memory",
        CONV,
        "tile.x[i] = token",
        "tile.x[i / 2] = token",
        "race in shared memory: .* written again",
    ),
    Fault(
        "two threads of a block write one place of global memory",
        CONV,
        "u[token] = from_float",
        "u[token / 2] = from_float",
        "race in global memory: thread .* of this block",
        in_slice=False,
    ),
    Fault(
        "two blocks write one place of global memory",
        CONV,
        "blockIdx.x % tiles * kTokens",
        "blockIdx.x % tiles * (kTokens - 1)",
        "race in global memory: thread .* of another block",
    ),
    Fault(
        "static shared memory shrunk",
        CONV,
        r"tile\[4728\]",
        "tile[4132]",
        r"at byte 4\d+ of `tile`, a variable of 4132 bytes",
        in_ptx=True,
    ),
    Fault(
        "static shared memory shrunk, with dynamic memory behind it",
        SCAN,
        r"tile\[6464\]",
        "tile[4604]",
        r"at byte 4\d+ of `tile`, a variable of 4604 bytes",
        in_ptx=True,
    ),
    Fault(
        "dynamic shared memory shrunk",
        SCAN,
        "* kPitch * sizeof(float)",
        "* kPitch * sizeof(float) - 124",
        "of `msdk_dynamic_shared`",
        in_slice=False,
    ),
    Fault(
        "an alignment dropped",
        KAN,
        r"\.shared \.align 16( \.b8 \w+10kan_kernel)",
        r".shared .align 4\1",
        "misaligned access of 16 bytes to shared memory",
        in_ptx=True,
    ),
    Fault(
        "a vector load misaligned",
        KAN,
        r"(ld\.shared\.v4\.f32[^\n]*\[%r\d+)(?:\+\d+)?\]",
        r"\1+20]",
        "misaligned access of 16 bytes to shared memory",
        in_ptx=True,
    ),
    Fault(
        "a bounds check dropped",
        CONV,
        "token >= 0 && token < a.length",
        "token < a.length",
        "outside of what was allocated of global memory",
    ),
    Fault(
        "a tail of shared memory left unwritten",
        CONV,
        "i < scans * a.width;",
        "i + 1 < scans * a.width;",
        "read of `tile` in shared memory where no thread has written",
    ),
    Fault(
        "a barrier of a warp that one lane reaches",
        CONV,
        "  __syncthreads();\n",
        "  if (thread % 32 == 0) __syncwarp();\n  __syncthreads();\n",
        "wait at barriers that others never reach",
    ),
    Fault(
        "a barrier of a block that one thread reaches",
        KAN,
        "    __syncthreads();\n  }\n",
        "    __syncthreads();\n    if (thread == 0) __syncthreads();\n  }\n",
        "wait at different barriers",
        in_slice=False,
    ),
    Fault(
        "a read through the read-only cache of what was just written",
        CONV,
        "u[token] = from_float<T>(silu(sum));",
        "u[token] = from_float<T>(silu(sum));\n"
        "      if (__ldg(reinterpret_cast<const unsigned short*>(u + token)) == 7) u[token] = T{};",
        "ld.global.nc reads what a thread of the same launch has written",
        in_slice=False,
    ),
    Fault(
        "more threads than the launch bounds",
        CONV,
        "dim3(kThreads)",
        "dim3(2 * kThreads)",
        "too many threads for the kernel's launch bounds",
    ),
    Fault(
        "more shared memory than a block has",
        CONV,
        "dim3(kThreads), 0, stream",
        "dim3(kThreads), 46000, stream",
        "invalid argument",
        in_slice=False,
    ),
    Fault(
        "a loop that does not end",
        CONV,
        "tap < a.width; ++tap) sum",
        "tap < a.width; tap += 0) sum",
        "endless loop",
        in_slice=False,
    ),
    Fault(
        "a product that is not added",
        CONV,
        r"(\.entry \w*conv_kernelIfE[\s\S]*?)fma\.rn\.f32 ([^\n]*), %f\d+;",
        r"\1fma.rn.f32 \2, 0f00000000;",
        "relative error",
        in_ptx=True,
    ),
    Fault(
        "a maximum for a minimum",
        KAN,
        r"(?s)(\.entry \w+10kan_kernel.*?)max\.f32",
        r"\1min.f32",
        "relative error",
        in_ptx=True,
        in_slice=False,
    ),
    Fault(
        "a product for a quotient", NORMALIZE, r"div\.rn\.f64", "mul.rn.f64", "AssertionError", in_ptx=True
    ),
)

"""Are the CPU ops as fast in a released wheel, by Zig's Clang, as in the library of this checkout, by GCC?

One thread, each set of kernels that this processor has, usual sizes and odd ones. The wheel for this machine
has to be in dist/: `make wheels WHEELS=x86_64-linux-gnu.2.17`.
"""

import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np

import msdk_rt
from benchmarks.cpu_ops import normal
from benchmarks.measure import Contestant, measure
from benchmarks.scan_op import bound
from tests.support.cases import ConvCase, KanCase, ScanCase
from tests.support.nodes import node_model, run_node

DIST = Path(__file__).resolve().parents[1] / "dist"
KERNELS = ("avx512", "avx2", "baseline")
LIMIT = 1.03  # of GCC's time
DIRECTIONS = "forward,backward"

Case = tuple[str, str, dict[str, np.ndarray], tuple[str, ...], dict]


def cases() -> list[Case]:
    """(name, op, inputs, constants, attributes)."""
    return [
        *(scan(D, L, N) for D, L, N in ((96, 16384, 16), (37, 12347, 16), (24, 9001, 8))),
        *(directional(D, L) for D, L in ((96, 65536), (37, 50021))),
        convolution(24, 24, (48, 48, 48)),
        convolution(23, 29, (37, 35, 33)),
        convolution(96, 96, (16, 16, 16)),
        convolution(4, 24, (64, 64, 64), kernel=7, stride=2),
        convolution(48, 48, (40, 40, 40), group=48),
        kan(48, 16384),
        kan(23, 9261),
        norm(48, 65536),
        norm(47, 29791),
        upsampling(24, (32, 32, 32)),
        upsampling(7, (41, 39, 37)),
    ]


def scan(D: int, L: int, N: int) -> Case:
    case = ScanCase(B=1, K=2, D=D, L=L, N=N, R=3, directions=DIRECTIONS, has_z=True, scale=1.0, seed=0,
                    extreme=False)  # fmt: skip
    name = f"scan, D={D} L={L} N={N}"
    return name, "BidirectionalSelectiveScan", case.inputs(), (), {"directions": DIRECTIONS}


def directional(D: int, L: int) -> Case:
    case = ConvCase(B=1, K=2, D=D, L=L, W=4, directions=DIRECTIONS, seed=0)
    name = f"directed convolution, D={D} L={L}"
    return name, "DirectionalConv1d", case.inputs(), ("weight", "bias"), {"directions": DIRECTIONS}


def convolution(
    channels: int, outputs: int, sides: tuple, kernel: int = 3, stride: int = 1, group: int = 1
) -> Case:
    inputs = {
        "x": normal(1, channels, *sides),
        "weight": normal(outputs, channels // group, kernel, kernel, kernel),
        "bias": normal(outputs),
    }
    name = f"Conv3d {kernel}^3 / {stride}, {channels} to {outputs} in {group}, {'x'.join(map(str, sides))}"
    attributes = {"strides": [stride] * 3, "pads": [kernel // 2] * 6, "group": group}
    return name, "Conv3d", inputs, ("weight", "bias"), attributes


def kan(C: int, L: int) -> Case:
    case = KanCase(B=1, C=C, O=C, L=L, G=8, grid_min=-1.0, grid_max=1.0, seed=0)
    attributes = {"grid_min": -1.0, "grid_max": 1.0}
    return f"KanLinear, C={C} L={L}", "KanLinear", case.inputs(), ("base_weight", "spline_weight"), attributes


def norm(C: int, L: int) -> Case:
    inputs = {"x": normal(1, C, L), "weight": normal(C), "bias": normal(C)}
    return f"TokenNorm, C={C} L={L}", "TokenNorm", inputs, ("weight", "bias"), {"epsilon": 1e-5}


def upsampling(C: int, sides: tuple) -> Case:
    inputs = {"x": normal(1, C, *sides), "addend": normal(1, C, *(2 * side for side in sides))}
    return f"TrilinearUpsample, C={C}, {'x'.join(map(str, sides))}", "TrilinearUpsample", inputs, (), {}


def compare(wheel: Path) -> int:
    """Times every case with the kernels that MSDK_RT_CPU_KERNELS names; how many are beyond LIMIT."""
    slower = 0
    for name, op, inputs, constants, attributes in cases():
        model = node_model(op, inputs, constants, **attributes)
        fed = {key: array for key, array in inputs.items() if key not in constants}
        shape = run_node(op, inputs, **attributes).shape
        gcc = bound(model, fed, 1, shape=shape)
        zig = bound(model, fed, 1, library=wheel, shape=shape)
        expected = gcc()
        error = np.abs(zig() - expected).max() / np.abs(expected).max()
        assert error < 1e-5, f"{name}: {error:.1e}"
        contestants = [Contestant("GCC", gcc, 1), Contestant("Zig", zig, 1)]
        case = f"{os.environ['MSDK_RT_CPU_KERNELS']}: {name}"
        medians = measure("compilers", case, contestants, seconds=0.6, least_runs=5)
        slower += medians["Zig"] > LIMIT * medians["GCC"]
    return slower


def main() -> None:
    wheels = sorted(DIST.glob(f"msdk_rt-{msdk_rt.__version__}-*manylinux*{os.uname().machine}.whl"))
    if not wheels:
        raise SystemExit("dist/ has no wheel for this machine: make wheels WHEELS=x86_64-linux-gnu.2.17")
    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(wheels[-1]) as archive:
            library = archive.extract(f"msdk_rt/lib/{msdk_rt.ops_library().name}", folder)
        for kernels in KERNELS:
            environment = os.environ | {"MSDK_RT_CPU_KERNELS": kernels}
            subprocess.run(
                [sys.executable, "-m", "benchmarks.compilers", library], env=environment, check=True
            )


if __name__ == "__main__":
    print(f"{compare(Path(sys.argv[1]))} cases beyond {LIMIT} of GCC's time\n", flush=True)

"""How much faster than standard ops are the ops that stand for them on the CPU?

Sizes of the base network's 128^3 window and of the demo's 96^3; the same work in ONNX Runtime's own ops and
in PyTorch.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.measure import Contestant, measure
from benchmarks.scan_op import bound
from msdk_export.graph.functions import attach_functions
from tests.support.nodes import node_model

THREADS = 2
AGREEMENT = 1e-5  # relative to the largest value


@dataclass(frozen=True)
class Case:
    name: str
    op: str
    inputs: dict[str, np.ndarray]
    constants: tuple[str, ...]
    attributes: dict
    pytorch: Callable[..., Tensor]
    work: float
    unit: str


def convolution(
    channels: int, outputs: int, side: int, kernel: int = 3, stride: int = 1, group: int = 1
) -> Case:
    pad = kernel // 2
    what = f"{channels} to {outputs} channels" if group == 1 else f"{channels} channels, depthwise"
    terms = channels // group * kernel**3
    return Case(
        name=f"Conv3d {kernel}^3, stride {stride}, {what}, {side}^3",
        op="Conv3d",
        inputs={
            "x": normal(1, channels, side, side, side),
            "weight": normal(outputs, channels // group, kernel, kernel, kernel) / np.float32(terms**0.5),
            "bias": normal(outputs),
        },
        constants=("weight", "bias"),
        attributes={"strides": [stride] * 3, "pads": [pad] * 6, "group": group},
        pytorch=lambda x, w, b: functional.conv3d(x, w, b, stride, pad, groups=group),
        work=2e-9 * outputs * (side // stride) ** 3 * terms,
        unit="GFLOP",
    )


def transposed(channels: int, outputs: int, side: int) -> Case:
    x, skip = normal(1, channels, side, side, side), normal(1, outputs, *[2 * side] * 3)
    weight = normal(channels, outputs, 2, 2, 2) / np.float32(channels**0.5)
    return Case(
        name=f"ConvTranspose3d before a skip, {channels} to {outputs} channels, {side}^3 to {2 * side}^3",
        op="ConvTranspose3d",
        inputs={"x": x, "weight": weight, "bias": normal(outputs), "skip": skip},
        constants=("weight", "bias"),
        attributes={"strides": [2] * 3},
        pytorch=lambda x, w, b, skip: torch.cat([functional.conv_transpose3d(x, w, b, 2), skip], 1),
        work=2e-9 * x.size * weight[0].size,
        unit="GFLOP",
    )


def upsampling(channels: int, side: int) -> Case:
    x, skip = normal(1, channels, side, side, side), normal(1, channels, *[2 * side] * 3)
    return Case(
        name=f"TrilinearUpsample and addition, {channels} channels, {side}^3 to {2 * side}^3",
        op="TrilinearUpsample",
        inputs={"x": x, "addend": skip},
        constants=(),
        attributes={},
        pytorch=lambda x, skip: functional.interpolate(x, scale_factor=2, mode="trilinear") + skip,
        work=1e-9 * (x.nbytes + 2 * skip.nbytes),
        unit="GB",
    )


def norm(channels: int, length: int) -> Case:
    x = normal(1, channels, length)
    return Case(
        name=f"TokenNorm, {channels} channels, {length} tokens",
        op="TokenNorm",
        inputs={"x": x, "weight": normal(channels), "bias": normal(channels)},
        constants=("weight", "bias"),
        attributes={"epsilon": 1e-5},
        pytorch=lambda x, w, b: functional.layer_norm(x.mT, (channels,), w, b).mT.contiguous(),
        work=2e-9 * x.nbytes,
        unit="GB",
    )


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


def contestants_of(case: Case) -> list[Contestant]:
    tensors = [torch.from_numpy(array) for array in case.inputs.values()]

    def pytorch():
        with torch.inference_mode():
            return case.pytorch(*tensors).numpy()

    model = node_model(case.op, case.inputs, case.constants, **case.attributes)
    fed = {name: array for name, array in case.inputs.items() if name not in case.constants}
    shape = pytorch().shape
    return [
        Contestant(f"msdk::{case.op}", bound(model, fed, THREADS, shape=shape), THREADS),
        Contestant(
            "standard ops in ONNX Runtime",
            bound(attach_functions(model), fed, THREADS, library=False, shape=shape),
            THREADS,
        ),
        Contestant("PyTorch eager", pytorch, THREADS),
    ]


def main() -> None:
    torch.set_num_threads(THREADS)
    for case in (
        convolution(8, 8, 96),
        convolution(24, 24, 128),
        convolution(48, 48, 64),
        convolution(96, 96, 32),
        convolution(384, 384, 8),
        convolution(4, 48, 128, kernel=7, stride=2),
        convolution(48, 48, 64, group=48),
        transposed(64, 32, 64),
        transposed(256, 128, 16),
        upsampling(24, 64),
        norm(48, 64**3),
    ):
        contestants = contestants_of(case)
        expected = contestants[0].run()
        for contestant in contestants[1:]:
            error = np.abs(contestant.run() - expected).max() / np.abs(expected).max()
            assert error < AGREEMENT, f"{contestant.name}: {error:.1e}"
        measure("cpu_ops", case.name, contestants, work=case.work, unit=case.unit)
        print()

"""The cost of each op of a network: time, operations and bytes, from ONNX Runtime's own profiler."""

import json
import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msdk_rt.backends.base import Floats, Provider
from msdk_rt.backends.onnxruntime import open_session, run_session

Shapes = list[list[int]]
SECOND_RUNS = 3  # profiled after one that also allocates


@dataclass
class OpCost:
    """All nodes of one op type in one inference. flops is None for ops that mostly move or compare data.

    An update of a scan's state counts as 9 operations, its exponential as one of them, as in Mamba's papers.
    A convolution counts its plain products: one that is computed with fewer can lie above the roof.
    """

    op: str
    nodes: int = 0
    seconds: float = 0.0
    bytes: int = 0
    flops: float | None = None


def profile(
    artifact: Path, providers: Sequence[Provider], threads: int | None, windows: Floats
) -> list[OpCost]:
    """The op types of one inference on windows (B, C, D, H, W), costliest first; means of SECOND_RUNS."""
    with tempfile.TemporaryDirectory() as folder:
        session = open_session(artifact, providers, threads, profile_prefix=f"{folder}/msdk")
        for _ in range(1 + SECOND_RUNS):
            run_session(session, windows)
        events = json.loads(Path(session.end_profiling()).read_text())
    kernels = [e for e in events if e.get("cat") == "Node" and e["name"].endswith("kernel_time")]
    costs: dict[str, OpCost] = {}
    for event in kernels[len(kernels) // (1 + SECOND_RUNS) :]:
        _add(costs, event)
    for cost in costs.values():
        cost.nodes //= SECOND_RUNS
        cost.bytes //= SECOND_RUNS
        cost.seconds /= SECOND_RUNS
        if cost.flops is not None:
            cost.flops /= SECOND_RUNS
    return sorted(costs.values(), key=lambda cost: -cost.seconds)


def _add(costs: dict[str, OpCost], event: dict[str, Any]) -> None:
    arguments = event["args"]
    cost = costs.setdefault(arguments["op_name"], OpCost(arguments["op_name"]))
    cost.nodes += 1
    cost.seconds += event["dur"] / 1e6
    cost.bytes += sum(int(arguments.get(f"{kind}_size", 0)) for kind in ("activation", "parameter", "output"))
    inputs = [next(iter(entry.values())) for entry in arguments.get("input_type_shape", ())]
    outputs = [next(iter(entry.values())) for entry in arguments.get("output_type_shape", ())]
    count = _FLOPS.get(cost.op)
    flops = count(inputs, outputs) if count and inputs and outputs else None
    if flops is not None:
        cost.flops = (cost.flops or 0.0) + flops


def _conv(inputs: Shapes, outputs: Shapes) -> float | None:
    return _of_weight(inputs, math.prod(outputs[0]))


def _conv_transpose(inputs: Shapes, outputs: Shapes) -> float | None:
    return _of_weight(inputs, math.prod(inputs[0]))


def _of_weight(inputs: Shapes, values: int) -> float | None:
    """Products of `values` values with a weight; None where ONNX Runtime packed it and tells no shape."""
    known = len(inputs) > 1 and len(inputs[1]) == len(inputs[0])
    return 2.0 * values * math.prod(inputs[1][1:]) if known else None


def _matmul(inputs: Shapes, outputs: Shapes) -> float:
    return 2.0 * math.prod(outputs[0]) * inputs[0][-1]


def _directional_conv(inputs: Shapes, outputs: Shapes) -> float:
    return 2.0 * math.prod(outputs[0]) * inputs[1][2]


def _scan(inputs: Shapes, outputs: Shapes) -> float:
    return 9.0 * math.prod(inputs[0]) * inputs[4][2]


def _kan(inputs: Shapes, outputs: Shapes) -> float:
    return 2.0 * math.prod(outputs[0]) * inputs[2][1] * (1 + inputs[2][2])


_FLOPS = {
    "Conv": _conv,
    "Conv3d": _conv,
    "NormConv3d": _conv,
    "FusedConv": _conv,
    "ConvTranspose": _conv_transpose,
    "ConvTranspose3d": _conv_transpose,
    "NormConvTranspose3d": _conv_transpose,
    "MatMul": _matmul,
    "DirectionalConv1d": _directional_conv,
    "BidirectionalSelectiveScan": _scan,
    "KanLinear": _kan,
}

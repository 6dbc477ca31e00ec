"""The scan and the convolution in float16 at batch 1, two directions, D = 96, timed by CUDA events.

The KAN layer from 96 to 96 channels with 8 bases, in float16 and float32, has no peer. The others'
peers are timed with them. Every time is shown beside its floor: the least time that the GPU's
special-function units, float32 units and memory need (rates.py).
"""

import ctypes
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from tests.gpu.op_checks import ConvCall, KanCall, Ops, rounded
from tests.gpu.rates import Rates, Work, conv_work, kan_work, scan_work
from tests.support.cases import ConvCase, KanCase, ScanCase

LENGTHS = (4096, 32768, 262144)
AGREEMENT = 2e-2  # relative error of a peer's result in float16: it must compute the same thing
SCAN, CONV, KAN, KAN_IN_FLOAT32 = "scan", "conv", "kan", "kan in float32"
KAN_TYPES = {KAN: np.float16, KAN_IN_FLOAT32: np.float32}
HALF = 2  # bytes


@dataclass(frozen=True)
class Timing:
    op: str
    who: str
    length: int
    median_ms: float
    p20_ms: float
    p80_ms: float


@dataclass(frozen=True)
class Missing:
    op: str
    who: str
    length: int
    reason: str


def scan_case(length: int) -> ScanCase:
    return ScanCase(B=1, K=2, D=96, L=length, N=16, R=3, directions="forward,backward", has_z=True, scale=1.0,
                    seed=31, extreme=False)  # fmt: skip


def conv_case(length: int) -> ConvCase:
    return ConvCase(B=1, K=2, D=96, L=length, W=4, directions="forward,backward", seed=32)


def kan_case(length: int) -> KanCase:
    return KanCase(B=1, C=96, O=96, L=length, G=8, grid_min=-1.0, grid_max=1.0, seed=33)


def kan_call(ops: Ops, op: str, length: int) -> KanCall:
    case = kan_case(length)
    inputs = rounded(case.inputs(), ("x",), KAN_TYPES[op])
    return KanCall(ops, **inputs, grid_min=case.grid_min, grid_max=case.grid_max)


def work_of(op: str, length: int) -> Work:
    if op in KAN_TYPES:
        return kan_work(kan_case(length), np.dtype(KAN_TYPES[op]).itemsize)
    return scan_work(scan_case(length), HALF) if op == SCAN else conv_work(conv_case(length), HALF)


def benchmark(ops: Ops, lengths=LENGTHS, left_out: tuple[str, ...] = ()) -> Iterator[Timing | Missing]:
    """Yield ours and every peer at every length; for a peer that cannot run, the reason.

    left_out: peers that are not timed.
    """
    for length in lengths:
        inputs = rounded(scan_case(length).inputs(), ("u", "x_dbl", "z"), np.float16)
        call = ops.scan(inputs, "forward,backward", 1.0)
        yield summary(SCAN, "msdk", length, milliseconds_of(ops.device.runtime, call))
        yield from peers_of(SCAN, length, inputs, call.y.get(), left_out)
        inputs = rounded(conv_case(length).inputs(), ("x",), np.float16)
        call = ConvCall(ops, **inputs, directions="forward,backward")
        yield summary(CONV, "msdk", length, milliseconds_of(ops.device.runtime, call))
        yield from peers_of(CONV, length, inputs, call.u.get(), left_out)
        for op in KAN_TYPES:
            yield summary(op, "msdk", length, milliseconds_of(ops.device.runtime, kan_call(ops, op, length)))


def milliseconds_of(runtime, call, warm_up: int = 5, runs: int = 50) -> list[float]:
    events = [ctypes.c_void_p() for _ in range(2)]
    for event in events:
        runtime.check_event(ctypes.byref(event))
    start, stop = events
    for _ in range(warm_up):
        call.enqueue()
    times = []
    for _ in range(runs):
        elapsed = ctypes.c_float()
        runtime.check_record(start, None)
        call.enqueue()
        runtime.check_record(stop, None)
        runtime.check_elapsed(ctypes.byref(elapsed), start, stop)
        times.append(elapsed.value)
    return times


def peers_of(
    op: str, length: int, inputs: dict[str, np.ndarray], expected: np.ndarray, left_out: tuple[str, ...]
) -> Iterator[Timing | Missing]:
    try:
        import torch
    except ImportError:
        yield Missing(op, "peers", length, "PyTorch is not installed")
        return
    if not torch.cuda.is_available():
        yield Missing(op, "peers", length, "this PyTorch has no CUDA")
        return
    from tests.gpu import peers

    tensors = {name: torch.from_numpy(array).cuda() for name, array in inputs.items()}
    for who, make in (scan_peers if op == SCAN else conv_peers)(peers).items():
        if who in left_out:
            yield Missing(op, who, length, "left out")
            continue
        try:
            call = make()
        except ImportError as error:
            yield Missing(op, who, length, f"{error.name or who} is not installed")
            continue
        yield peer_at(op, who, length, lambda call=call: call(**tensors), expected, peers.milliseconds_of)


def scan_peers(peers) -> dict[str, Callable]:
    """By name, a function that imports a peer and returns a function of the op's inputs."""

    def mamba_ssm():
        from mamba_ssm.ops.selective_scan_interface import selective_scan_fn

        return lambda **inputs: peers.mamba_ssm_scan(selective_scan_fn, **inputs)

    def compiled():
        import torch

        return torch.compile(peers.associative_scan)

    return {"mamba-ssm twice": mamba_ssm, "torch.compile": compiled}


def conv_peers(peers) -> dict[str, Callable]:
    def causal_conv1d():
        from causal_conv1d import causal_conv1d_fn

        return lambda **inputs: peers.causal_conv1d(causal_conv1d_fn, **inputs)

    return {"causal-conv1d twice": causal_conv1d}


def peer_at(op: str, who: str, length: int, call, expected: np.ndarray, timed) -> Timing | Missing:
    """Time a peer; its failure is reported and does not fail the check of ours."""
    expected = expected.astype(np.float64)
    try:
        actual = call().double().cpu().numpy()
        error = np.linalg.norm(actual - expected) / np.linalg.norm(expected)
        if not error <= AGREEMENT:
            return Missing(op, who, length, f"computed something else: relative error {error:.1e}")
        return summary(op, who, length, timed(call))
    except Exception as failure:
        reason = next(iter(str(failure).splitlines()), "")[:150]
        return Missing(op, who, length, f"{type(failure).__name__}: {reason}")


def summary(op: str, who: str, length: int, times: list[float]) -> Timing:
    fifths = statistics.quantiles(times, n=5)
    return Timing(op, who, length, statistics.median(times), fifths[0], fifths[3])


def row_of(timing: Timing, rates: Rates) -> dict[str, str | float]:
    """The timing beside its floor, and the bandwidth it comes to if each tensor moves once."""
    work = work_of(timing.op, timing.length)
    floor, bandwidth = rates.floor_ms(work), work.bytes / timing.median_ms * 1e3
    return {
        **vars(timing),
        "floor_ms": floor,
        "over_floor": timing.median_ms / floor,
        "gb_s": bandwidth / 1e9,
        "of_bandwidth": bandwidth / rates.bandwidth,
    }


def comparison(rows: list[dict[str, str | float]], missing: list[Missing]) -> str:
    """The longest sequences in a sentence: ours against its floor, peers against ours, what is missing."""
    length = max(row["length"] for row in rows)
    said = []
    for op in dict.fromkeys(row["op"] for row in rows):
        ours, *others = [row for row in rows if (row["op"], row["length"]) == (op, length)]
        said.append(
            f"{op} {ours['median_ms']:.3f} ms at L = {length}, {ours['over_floor']:.2f} times its floor, "
            f"{ours['gb_s']:.0f} GB/s, {ours['of_bandwidth']:.0%} of the device's"
        )
        said += [f"{row['who']} {row['median_ms'] / ours['median_ms']:.1f} times that" for row in others]
    reasons = {(gap.op, gap.who): gap.reason for gap in missing}
    return "; ".join([*said, *(f"no {who} for the {op}: {reason}" for (op, who), reason in reasons.items())])

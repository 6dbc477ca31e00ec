"""The scan in float16 at batch 1, two directions, D = 96, N = 16, timed by CUDA events; peers beside it."""

import ctypes
import statistics
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from cases import ScanCase
from op_checks import Ops, rounded

LENGTHS = (4096, 32768, 262144)
AGREEMENT = 2e-2  # relative error of a peer's y in float16: it must compute the same thing


@dataclass(frozen=True)
class Timing:
    who: str
    length: int
    median_ms: float
    p20_ms: float
    p80_ms: float


@dataclass(frozen=True)
class Missing:
    who: str
    length: int
    reason: str


def case_of(length: int) -> ScanCase:
    return ScanCase(B=1, K=2, D=96, L=length, N=16, R=3, directions="forward,backward", has_z=True, scale=1.0,
                    seed=31, extreme=False)  # fmt: skip


def benchmark(ops: Ops, lengths=LENGTHS) -> Iterator[Timing | Missing]:
    """Ours and every peer at every length; a peer that cannot run yields why."""
    for length in lengths:
        inputs = rounded(case_of(length).inputs(), ("u", "x_dbl", "z"), np.float16)
        call = ops.scan(inputs, "forward,backward", 1.0)
        yield summary("msdk", length, milliseconds_of(ops.device.runtime, call))
        expected = call.y.get().astype(np.float64)
        yield from peers_at(length, inputs, expected)


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


def peers_at(length: int, inputs: dict[str, np.ndarray], expected: np.ndarray) -> Iterator[Timing | Missing]:
    try:
        import torch
    except ImportError:
        yield Missing("mamba-ssm and torch.compile", length, "PyTorch is not installed")
        return
    if not torch.cuda.is_available():
        yield Missing("mamba-ssm and torch.compile", length, "this PyTorch has no CUDA")
        return
    import peers

    tensors = {name: torch.from_numpy(array).cuda() for name, array in inputs.items()}
    compiled = torch.compile(peers.associative_scan)
    calls = {"torch.compile": lambda: compiled(**tensors)}
    try:
        from mamba_ssm.ops.selective_scan_interface import selective_scan_fn

        calls["mamba-ssm twice"] = lambda: peers.mamba_ssm_scan(selective_scan_fn, **tensors)
    except ImportError:
        yield Missing("mamba-ssm twice", length, "mamba-ssm is not installed")
    for who, call in calls.items():
        yield peer_at(who, length, call, expected, peers.milliseconds_of)


def peer_at(who: str, length: int, call, expected: np.ndarray, timed) -> Timing | Missing:
    """A peer's failure is its own: it is reported, and does not fail the check of ours."""
    try:
        actual = call().double().cpu().numpy()
        error = np.linalg.norm(actual - expected) / np.linalg.norm(expected)
        if not error <= AGREEMENT:
            return Missing(who, length, f"computed something else: relative error {error:.1e}")
        return summary(who, length, timed(call))
    except Exception as failure:
        return Missing(who, length, f"{type(failure).__name__}: {str(failure).splitlines()[0][:150]}")


def summary(who: str, length: int, times: list[float]) -> Timing:
    fifths = statistics.quantiles(times, n=5)
    return Timing(who, length, statistics.median(times), fifths[0], fifths[3])

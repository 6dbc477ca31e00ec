"""The exported artifact against the PyTorch model it came from, window by window."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn

from msdk_rt.backends.onnxruntime import VERSION, open_session, run_session
from msdk_rt.errors import ExportError

SEED = 0


@dataclass(frozen=True)
class Limits:
    """What an artifact may differ by: relative error of the logits, share of voxels with the same label."""

    relative_error: float
    label_agreement: float


LIMITS = {"float32": Limits(1e-3, 0.9999), "float16": Limits(5e-2, 0.999)}


def random_window(channels: int, window: tuple[int, int, int]) -> np.ndarray:
    """Standard normal voxels, the same every time: (1, channels, D, H, W) float32."""
    return np.random.default_rng(SEED).standard_normal((1, channels, *window), dtype=np.float32)


def on_cpu(artifact: Path) -> Callable[[np.ndarray], np.ndarray]:
    """An .onnx as a function windows -> logits, on the threads that torch is allowed. Raises BackendError."""
    session = open_session(artifact, ["CPUExecutionProvider"], torch.get_num_threads())
    return partial(run_session, session)


def measure_parity(
    model: nn.Module,
    infer: Callable[[np.ndarray], np.ndarray],
    windows: Mapping[str, np.ndarray | None],
    activation: str,
    precision: str = "float32",
) -> dict:
    """Run every window (1, C, D, H, W) through both; a window of None is recorded as None.

    infer: the artifact, windows -> logits, both float32. Returns, per window, max_error and relative_error
    (max |difference| / max |reference|) of the logits, label_agreement, the fraction of voxels with the same
    labels (argmax of softmax, or every sigmoid region on the same side of a half), and least_dice, the lowest
    Dice of a class between the two; beside them the limits of the precision and onnxruntime's version. Raises
    what `infer` raises.
    """
    parity = {
        "onnxruntime": VERSION,
        "relative_error_limit": LIMITS[precision].relative_error,
        "label_agreement_limit": LIMITS[precision].label_agreement,
    }
    for name, window in windows.items():
        if window is None:
            parity[name] = None
            continue
        with torch.inference_mode():
            reference = model(torch.from_numpy(window)).numpy()
        parity[name] = _compare(infer(window), reference, activation)
    return parity


def check_parity(parity: Mapping, precision: str = "float32") -> None:
    """Raise ExportError if any measured window is outside the limits of the precision; NaN is.

    On random voxels a trained network may well have no clear opinion, so that a float16 model is held to its
    labels on the real window, where there is one.
    """
    limits = LIMITS[precision]
    windows = {name: measured for name, measured in parity.items() if isinstance(measured, Mapping)}
    if precision == "float16" and "real" in windows:
        windows.pop("random", None)
    for name, measured in windows.items():
        relative, agreement = measured["relative_error"], measured["label_agreement"]
        if not (relative <= limits.relative_error and agreement >= limits.label_agreement):
            advice = (
                "Export it with precision fp32"
                if precision == "float16"
                else "Check that the model in evaluation mode is a pure function of its input"
            )
            raise ExportError(
                f"the exported graph does not agree with the PyTorch model on the {name} window: relative "
                f"error {relative:.3g} (limit {limits.relative_error:g}), label agreement {agreement:.6f} "
                f"(limit {limits.label_agreement:g}); nothing was written. {advice}"
            )


def _compare(logits: np.ndarray, reference: np.ndarray, activation: str) -> dict:
    found, expected = _regions(logits, activation), _regions(reference, activation)
    error = np.abs(logits - reference).max()
    scale = np.abs(reference).max()
    return {
        "max_error": float(error),
        "relative_error": float(error / scale) if scale else float(error),
        "label_agreement": _agreement(found, expected, activation),
        "least_dice": min(_dice(a, b) for a, b in zip(found, expected, strict=True)),
    }


def _regions(logits: np.ndarray, activation: str) -> np.ndarray:
    """(K, B, D, H, W) bool: where each class is the label, or each region more likely than not."""
    if activation == "softmax":
        return logits.argmax(1) == np.arange(logits.shape[1])[:, None, None, None, None]
    return logits.swapaxes(0, 1) > 0


def _agreement(found: np.ndarray, expected: np.ndarray, activation: str) -> float:
    same = found == expected
    return float(np.mean(same.all(0) if activation == "softmax" else same))


def _dice(found: np.ndarray, expected: np.ndarray) -> float:
    total = np.count_nonzero(found) + np.count_nonzero(expected)
    return float(2 * np.count_nonzero(found & expected) / total) if total else 1.0

"""The exported artifact against PyTorch's logits, window by window."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from msdk_export.parity.exact import Exact
from msdk_export.parity.gate import DOUBT, LARGEST, LIMITS
from msdk_rt.backends.onnxruntime import VERSION, open_session, run_session

SEED = 0


def random_window(channels: int, window: tuple[int, int, int]) -> np.ndarray:
    """Standard normal voxels, the same every time: (1, channels, D, H, W) float32."""
    return np.random.default_rng(SEED).standard_normal((1, channels, *window), dtype=np.float32)


def on_cpu(artifact: Path) -> Callable[[np.ndarray], np.ndarray]:
    """An .onnx as a function windows -> logits, on the threads that torch is allowed. Raises BackendError."""
    session = open_session(artifact, ["CPUExecutionProvider"], torch.get_num_threads())
    return partial(run_session, session)


def measure_parity(
    references: Mapping[str, np.ndarray | None],
    infer: Callable[[np.ndarray], np.ndarray],
    windows: Mapping[str, np.ndarray | None],
    activation: str,
    precision: str = "float32",
    exact: Exact | None = None,
    folds: int | None = None,
) -> dict[str, Any]:
    """Run every window (1, C, D, H, W) through the artifact; a window of None is recorded as None.

    references: PyTorch's logits of each window. infer: the artifact, windows -> logits, both float32. folds:
    networks whose logits these hold; errors are of all of them, labels of their mean.
    Returns, per window, max_error and relative_error (max |difference| / max |reference|) of the logits,
    label_agreement, the fraction of voxels with the same labels (argmax of softmax, or every sigmoid region
    on the same side of a half), clear_label_agreement, the same of the voxels whose label the error allowed
    does not decide, and least_dice, the lowest Dice of a class between the two; beside them the limits of the
    precision and onnxruntime's version. With `exact`, which gives the logits in float64, the relative errors
    of the artifact and of PyTorch's float32 to it: on the last window if that is cheap, and on every window
    whose relative_error is in doubt. Raises what `infer` raises.
    """
    parity: dict[str, Any] = {
        "onnxruntime": VERSION,
        "relative_error_limit": LIMITS[precision].relative_error,
        "label_agreement_limit": LIMITS[precision].label_agreement,
    }
    measured = [name for name, window in windows.items() if window is not None]
    for name, window in windows.items():
        reference = references.get(name)
        if window is None or reference is None:
            parity[name] = None
            continue
        found = infer(window)
        parity[name] = _compare(found, reference, activation, LIMITS[precision].relative_error, folds)
        cheap = exact is not None and exact.affordable and name == measured[-1]
        if exact is not None and (cheap or not parity[name]["relative_error"] <= DOUBT):
            parity[name] |= _beside_float64(found, reference, exact(window))
    return parity


def _beside_float64(found: np.ndarray, reference: np.ndarray, truth: np.ndarray | None) -> dict[str, float]:
    """Both errors relative to float64, unless the network computes something else in float64."""
    if truth is None or (own := relative_error(reference, truth)) > LARGEST:
        return {}
    return {"error_to_float64": relative_error(found, truth), "pytorch_error_to_float64": own}


def relative_error(found: np.ndarray, expected: np.ndarray) -> float:
    """max |difference| / max |expected|; infinite where shapes differ or anything is not finite."""
    if found.shape != expected.shape or not (np.isfinite(found).all() and np.isfinite(expected).all()):
        return float("inf")
    error, scale = np.abs(found.astype(np.float64) - expected).max(), np.abs(expected).max()
    return float(error / scale) if scale else float(error)


def mean_of_folds(logits: np.ndarray, folds: int | None) -> np.ndarray:
    """The model's logits (B, K, D, H, W) of those of its folds (B, folds * K, D, H, W)."""
    if folds is None:
        return logits
    mean: np.ndarray = logits.reshape(len(logits), folds, -1, *logits.shape[2:]).mean(1)
    return mean


def _compare(
    logits: np.ndarray, reference: np.ndarray, activation: str, limit: float, folds: int | None
) -> dict[str, float]:
    of_model, of_pytorch = mean_of_folds(logits, folds), mean_of_folds(reference, folds)
    found, expected = _regions(of_model, activation), _regions(of_pytorch, activation)
    same = (found == expected).all(0) if activation == "softmax" else found == expected
    clear = _margin(of_pytorch, activation) > limit * np.abs(reference).max()
    return {
        "max_error": float(np.abs(logits - reference).max()),
        "relative_error": relative_error(logits, reference),
        "label_agreement": float(np.mean(same)),
        "clear_label_agreement": float(np.mean(same[clear])) if clear.any() else 1.0,
        "least_dice": min(_dice(a, b) for a, b in zip(found, expected, strict=True)),
    }


def _regions(logits: np.ndarray, activation: str) -> np.ndarray:
    """(K, B, D, H, W) bool: where each class is the label, or each region more likely than not."""
    if activation == "softmax":
        chosen: np.ndarray = logits.argmax(1) == np.arange(logits.shape[1])[:, None, None, None, None]
        return chosen
    likely: np.ndarray = logits.swapaxes(0, 1) > 0
    return likely


def _margin(logits: np.ndarray, activation: str) -> np.ndarray:
    """How far the logits are from another label: (B, D, H, W), or (K, B, D, H, W) for regions."""
    if activation != "softmax":
        distances: np.ndarray = np.abs(logits.swapaxes(0, 1))
        return distances
    if logits.shape[1] == 1:
        return np.full((logits.shape[0], *logits.shape[2:]), np.inf)
    best = np.partition(logits, -2, axis=1)
    margin: np.ndarray = best[:, -1] - best[:, -2]
    return margin


def _dice(found: np.ndarray, expected: np.ndarray) -> float:
    total = np.count_nonzero(found) + np.count_nonzero(expected)
    return float(2 * np.count_nonzero(found & expected) / total) if total else 1.0

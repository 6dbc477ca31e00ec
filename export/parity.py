"""The exported artifact against the PyTorch model it came from, window by window."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import nn

from msdk_rt.backends.onnxruntime import VERSION, open_session, run_session
from msdk_rt.errors import ExportError

RELATIVE_ERROR_LIMIT = 1e-3
LABEL_AGREEMENT_LIMIT = 0.9999
SEED = 0


def random_window(channels: int, window: tuple[int, int, int]) -> np.ndarray:
    """Standard normal voxels, the same every time: (1, channels, D, H, W) float32."""
    return np.random.default_rng(SEED).standard_normal((1, channels, *window), dtype=np.float32)


def measure_parity(
    model: nn.Module, artifact: str | Path, windows: Mapping[str, np.ndarray | None], activation: str
) -> dict:
    """Run every window (1, C, D, H, W) through both; a window of None is recorded as None.

    Returns, per window, max_error and relative_error (max |difference| / max |reference|) of the logits and
    label_agreement, the fraction of voxels with the same labels (argmax of softmax, or every sigmoid region
    on the same side of a half); beside them the limits and onnxruntime's version. Both run on the threads
    that torch is allowed.
    Raises BackendError when the op library is missing, or ONNX Runtime refuses the artifact or fails.
    """
    session = open_session(artifact, ["CPUExecutionProvider"], torch.get_num_threads())
    parity = {
        "onnxruntime": VERSION,
        "relative_error_limit": RELATIVE_ERROR_LIMIT,
        "label_agreement_limit": LABEL_AGREEMENT_LIMIT,
    }
    for name, window in windows.items():
        if window is None:
            parity[name] = None
            continue
        with torch.inference_mode():
            reference = model(torch.from_numpy(window)).numpy()
        parity[name] = _compare(run_session(session, window), reference, activation)
    return parity


def check_parity(parity: Mapping) -> None:
    """Raise ExportError if any measured window is outside the limits; NaN is."""
    for name, measured in parity.items():
        if not isinstance(measured, Mapping):
            continue
        relative, agreement = measured["relative_error"], measured["label_agreement"]
        if not (relative <= RELATIVE_ERROR_LIMIT and agreement >= LABEL_AGREEMENT_LIMIT):
            raise ExportError(
                f"the exported graph does not agree with the PyTorch model on the {name} window: relative "
                f"error {relative:.3g} (limit {RELATIVE_ERROR_LIMIT:g}), label agreement {agreement:.6f} "
                f"(limit {LABEL_AGREEMENT_LIMIT:g}); nothing was written. Check that the model in evaluation "
                "mode is a pure function of its input"
            )


def _compare(logits: np.ndarray, reference: np.ndarray, activation: str) -> dict:
    error = np.abs(logits - reference).max()
    scale = np.abs(reference).max()
    return {
        "max_error": float(error),
        "relative_error": float(error / scale) if scale else float(error),
        "label_agreement": float(np.mean(_labels(logits, activation) == _labels(reference, activation))),
    }


def _labels(logits: np.ndarray, activation: str) -> np.ndarray:
    return logits.argmax(1) if activation == "softmax" else logits > 0

"""Whether an artifact is good enough to be written.

A float32 artifact is judged beside PyTorch's own float32 error, both relative to float64: a network may be so
conditioned that rounding alone moves its logits, and an artifact may lose a small multiple of that. Where
float64 was not run, or allows less, the limits below hold. A float16 artifact has its own limits.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from msdk_rt.errors import ExportError


@dataclass(frozen=True)
class Limits:
    """Limits of an artifact: relative error of the logits, share of voxels with the same label."""

    relative_error: float
    label_agreement: float


LIMITS = {"float32": Limits(1e-3, 0.9999), "float16": Limits(5e-2, 0.999)}
MULTIPLE = 10.0  # of PyTorch's own float32 error
LARGEST = 1e-2  # whatever PyTorch's own error is
DOUBT = 1e-4  # above it a float32 artifact is compared with float64, whatever that costs


def check_parity(parity: Mapping[str, Any], precision: str = "float32") -> None:
    """Raise ExportError if any measured window is outside the limits of the precision; NaN is.

    On random voxels a trained network may well have no clear opinion, so that a float16 model is held to its
    labels on the real window, where there is one. A float32 one's labels count where PyTorch's two best
    logits are farther apart than the error allowed.
    """
    windows = _windows(parity)
    if precision == "float16" and "real" in windows:
        windows.pop("random", None)
    for name, measured in windows.items():
        relative, limit = _judged(measured, precision)
        labels = "label_agreement" if precision == "float16" else "clear_label_agreement"
        agreement, least = measured[labels], LIMITS[precision].label_agreement
        if not (relative <= limit and agreement >= least):
            advice = (
                "Export it with precision fp32"
                if precision == "float16"
                else "Check that the model in evaluation mode is a pure function of its input"
            )
            own = measured.get("pytorch_error_to_float64")
            beside = "" if own is None else f", PyTorch's own {own:.3g}"
            raise ExportError(
                f"the exported graph does not agree with the PyTorch model on the {name} window: relative "
                f"error {relative:.3g} (limit {limit:.3g}{beside}), label agreement {agreement:.6f} "
                f"(limit {least:g}); nothing was written. {advice}"
            )


def excess(parity: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """Both errors on windows where the artifact loses more than a small multiple of PyTorch's own error."""
    return {
        name: (measured["error_to_float64"], measured["pytorch_error_to_float64"])
        for name, measured in _windows(parity).items()
        if "error_to_float64" in measured
        and not measured["error_to_float64"] <= max(MULTIPLE * measured["pytorch_error_to_float64"], DOUBT)
    }


def _judged(measured: Mapping[str, float], precision: str) -> tuple[float, float]:
    """The error that counts and its limit."""
    limit = LIMITS[precision].relative_error
    own = measured.get("pytorch_error_to_float64")
    if precision == "float16" or own is None:
        return measured["relative_error"], limit
    return measured["error_to_float64"], min(max(MULTIPLE * own, limit), LARGEST)


def _windows(parity: Mapping[str, Any]) -> dict[str, Mapping[str, float]]:
    return {
        name: measured
        for name, measured in parity.items()
        if isinstance(measured, Mapping) and "relative_error" in measured
    }

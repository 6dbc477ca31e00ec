"""Compares an artifact with its PyTorch module, judges it, and names the layer that lost most."""

from msdk_export.parity.gate import LIMITS, Limits, check_parity
from msdk_export.parity.lost import worst_step
from msdk_export.parity.measure import mean_of_folds, measure_parity, on_cpu, random_window, relative_error

__all__ = [
    "LIMITS",
    "Limits",
    "check_parity",
    "mean_of_folds",
    "measure_parity",
    "on_cpu",
    "random_window",
    "relative_error",
    "worst_step",
]

"""What the segmenter asks of an inference library."""

from collections.abc import Mapping
from typing import Protocol

import numpy as np


class Backend(Protocol):
    """A loaded network. `infer` may be called from several threads at once.

    library: name and version of the inference library, such as {"onnxruntime": "1.32.0"}.
    """

    library: Mapping[str, str]

    @property
    def providers(self) -> list[str]:
        """Names of the execution providers in use, in order of preference."""

    def infer(self, windows: np.ndarray) -> np.ndarray:
        """windows (B, C, D, H, W) float32 -> logits (B, K, D, H, W) float32, an array the caller may change.

        Raises BackendError.
        """

"""What the segmenter asks of an inference library."""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np


class Network(Protocol):
    """A loaded network on one stream of a GPU, for one thread.

    stream: a msdk_rt.backends.cuda.Stream, on which all of its work is. device: the GPU's number.
    graphs: whether `enqueue` may be captured in a CUDA graph. memory: bytes of the device that it works in,
    None if unknown.
    """

    stream: Any
    device: int
    graphs: bool
    memory: int | None

    def enqueue(self, image: int, logits: int, count: int) -> None:
        """Enqueue the inference of `count` windows between two addresses on the device: image (count, C, D,
        H, W) float32 -> logits (count, K, D, H, W) float32. The work may still have to run when it returns.

        Raises BackendError.
        """


class Backend(Protocol):
    """A loaded network. Its methods may be called from several threads at once.

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

    def network(self) -> Network | None:
        """The network for this thread on the GPU; None where volumes are to be worked on by the CPU.

        Raises BackendError.
        """

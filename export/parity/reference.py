"""PyTorch's side of a comparison: the module as it was given, or the network that a checkpoint made."""

import contextlib
import copy
import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from msdk_export.adoption.blocks import NotComparable
from msdk_export.adoption.given import Given
from msdk_export.adoption.state import outputs_of
from msdk_export.notes import note
from msdk_export.parity.exact import Exact, memory_taken
from msdk_export.parity.gate import excess
from msdk_export.parity.lost import worst_step_or_nothing
from msdk_rt.errors import ExportError


class Reference:
    """PyTorch's logits on the windows, (1, C, D, H, W) or None, and the network that is traced.

    source: a Given, or a network of this project in evaluation mode, which needs no copy. Raises what running
    it raises.
    """

    def __init__(self, source: Given | nn.Module, windows: Mapping[str, np.ndarray | None]):
        self.source = source
        self.windows = {name: window for name, window in windows.items() if window is not None}
        batches = [[torch.from_numpy(window)] for window in self.windows.values()]
        start, taken = time.perf_counter(), memory_taken()
        if isinstance(source, Given):
            found, runs = _expected(source, batches), len(batches) + 1
        else:
            found, runs = [outputs_of(source, batch) for batch in batches], len(batches)
        seconds = (time.perf_counter() - start) / runs
        self.logits = {
            name: outputs[0].numpy() for name, outputs in zip(self.windows, found, strict=True) if outputs
        }
        network = source.network if isinstance(source, Given) else source
        weights = sum(tensor.numel() * tensor.element_size() for tensor in network.state_dict().values())
        self.exact = Exact(self._in_float64, seconds, taken() + weights)

    @contextlib.contextmanager
    def tracing(self) -> Iterator[nn.Module]:
        """The network to trace."""
        if isinstance(self.source, Given):
            with self.source.on_msdk_ops() as network:
                yield network
        else:
            yield self.source

    def comparison(self) -> dict[str, object]:
        """Name the reference of the comparison, for the manifest."""
        if isinstance(self.source, Given):
            return self.source.comparison()
        return {"compared_with": "the network that the checkpoint made"}

    def worst_step(self, artifact: onnx.ModelProto, name: str) -> str:
        """The layer at which the artifact departs from PyTorch on a window; '' if none stands out."""
        with self.tracing() as network:
            return worst_step_or_nothing(artifact, network, {"image": self.windows[name]})

    def warn_of_loss(self, parity: Mapping[str, Any], artifact: onnx.ModelProto) -> dict[str, str]:
        """Warn where the artifact loses much more than PyTorch's float32; the entry for the manifest."""
        lost = {}
        for name, (found, own) in excess(parity).items():
            layer = self.worst_step(artifact, name)
            lost = {"most_is_lost_in": layer} if layer else {}
            note(
                f"on the {name} window the artifact is {found:.2g} away from float64 and PyTorch's float32 "
                f"{own:.2g}" + (f"; most is lost in {layer}" if layer else "")
            )
        return lost

    def _in_float64(self, window: Tensor) -> Tensor | None:
        if isinstance(self.source, Given):
            found = self.source.in_float64([window])
            return None if found is None else found[0]
        return outputs_of(copy.deepcopy(self.source).double(), [window])[0]


def _expected(given: Given, batches: list[list[Tensor]]) -> list[list[Tensor]]:
    try:
        return given.expected(batches)
    except ExportError as error:
        if isinstance(error, NotComparable) or error.__cause__ is None:
            raise
        also = "one that does not segment volumes is for msdk_export.export_graph"
        raise type(error)(f"{error}; {also}") from error

"""The network in float64, so that the gate can tell an artifact's error from rounding."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from msdk_rt.backends.memory import available_memory

AFFORDABLE_SECONDS = 2.0  # of the float32 run; float64 takes about 6 times as long
STATUS = Path("/proc/self/status")
_SLAB_BYTES = 1 << 28
_ATEN = torch.ops.aten
_CONVOLUTION = _ATEN.convolution.default
# What comes in place of it in torch.inference_mode.
_IN_INFERENCE_MODE = (_ATEN.conv3d.default, _ATEN.conv3d.padding, _ATEN._convolution_mode.default)


class Exact:
    """A network's logits in float64, where that is cheap or asked for.

    compute: a window (1, C, D, H, W) in float64 -> logits, or None where the network does not run in it.
    seconds, memory: what a float32 run of the window takes, the memory in bytes beyond what the process held.
    """

    def __init__(self, compute: Callable[[Tensor], Tensor | None], seconds: float, memory: float):
        self._compute = compute
        self._memory = 2 * memory
        self.affordable = seconds <= AFFORDABLE_SECONDS

    def __call__(self, window: np.ndarray) -> np.ndarray | None:
        """None where the memory free is too little, or the network does not run in float64."""
        free = available_memory()
        if free is not None and free < self._memory + 2 * _SLAB_BYTES:
            return None
        with ConvolutionsInSlabs():
            found = self._compute(torch.from_numpy(window).double())
        return None if found is None else found.numpy()


class ConvolutionsInSlabs(TorchDispatchMode):
    """3D convolutions in float64 a few planes at a time: PyTorch writes out all their products' operands."""

    def __init__(self) -> None:
        TorchDispatchMode.__init__(self)

    def __torch_dispatch__(
        self,
        operation: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if operation in _IN_INFERENCE_MODE:
            with self:
                return operation.decompose(*args, **(kwargs or {}))
        if operation is _CONVOLUTION and _is_large(*args):
            return _in_slabs(*args)
        return operation(*args, **(kwargs or {}))


def _is_large(x: Tensor, weight: Tensor, *options: object) -> bool:
    transposed = options[4]
    plain = x.dim() == 5 and x.dtype is torch.float64 and not transposed
    return plain and x.numel() * x.element_size() * weight[0, 0].numel() > _SLAB_BYTES


def _in_slabs(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
) -> Tensor:
    """The convolution, cut along the depth of its output."""
    depth, extent = x.shape[2], dilation[0] * (weight.shape[2] - 1) + 1
    planes = (depth + 2 * padding[0] - extent) // stride[0] + 1
    a_plane = x[0, :, 0].numel() * x.shape[0] * x.element_size() * weight[0, 0].numel()
    step = max(1, _SLAB_BYTES // a_plane)
    y: Tensor | None = None
    for first in range(0, planes, step):
        last = min(first + step, planes) - 1
        start, end = first * stride[0] - padding[0], last * stride[0] - padding[0] + extent
        slab = x[:, :, max(start, 0) : min(end, depth)]
        slab = F.pad(slab, (0, 0, 0, 0, max(-start, 0), max(end - depth, 0)))
        around = [0, *padding[1:]]
        part = _CONVOLUTION(slab, weight, bias, stride, around, dilation, transposed, output_padding, groups)
        if y is None:
            y = part.new_empty(*part.shape[:2], planes, *part.shape[3:])
        y[:, :, first : last + 1] = part
    assert y is not None, "PyTorch refuses an output without planes"
    return y


def memory_taken() -> Callable[[], float]:
    """A function: by how many bytes the process has grown at most since now, 0 where nothing says it."""
    held = _status("VmRSS:")
    return lambda: max(0.0, _status("VmHWM:") - held)


def _status(label: str) -> float:
    """Bytes that Linux tells of this process; 0 elsewhere."""
    try:
        words = STATUS.read_text().partition(label)[2].split()
    except OSError:
        return 0.0
    return int(words[0]) * 1024.0 if words else 0.0

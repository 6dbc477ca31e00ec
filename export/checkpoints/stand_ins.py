"""Stand-ins for the harmless objects that trainers keep beside the weights.

PyTorch's weights_only unpickler refuses a file for one NumPy scalar in it. It may use these names, and gets
nothing of NumPy or other libraries for them: a scalar becomes a Python number, anything else an object that
takes its arguments and its state, keeps nothing and does nothing.
"""

import contextlib
import re
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch


class StandIn:
    """In the place of an object that is not loaded."""

    def __new__(cls, *arguments: object) -> "StandIn":
        return super().__new__(cls)

    def __init__(self, *arguments: object):
        pass

    def __setstate__(self, state: object) -> None:
        pass


class NumPyDtype(StandIn):
    """numpy.dtype: its code, such as f8, and its byte order."""

    def __init__(self, code: object = "", *arguments: object):
        self.code, self.order = code, "="

    def __setstate__(self, state: object) -> None:
        if isinstance(state, tuple) and len(state) > 1 and state[1] in ("<", ">"):
            self.order = state[1]


class NumPyScalar(StandIn):
    """numpy.generic, other than a number."""


def numpy_scalar(dtype: object = None, content: object = None) -> Any:
    """The number that a pickled NumPy scalar is; a NumPyScalar where it is none."""
    if not isinstance(dtype, NumPyDtype) or not isinstance(content, bytes):
        return NumPyScalar()
    code = dtype.code
    if not isinstance(code, str) or not re.fullmatch("[biuf][1248]", code):
        return NumPyScalar()
    kind = np.dtype(dtype.order + code) if code[1:] != "1" else np.dtype(code)
    return np.frombuffer(content, kind)[0].item() if len(content) == kind.itemsize else NumPyScalar()


def no_bytes(*arguments: object) -> bytes:
    """The empty bytes, which protocol 2 pickles as a call of bytes; one with a length could ask for any."""
    return b""


def _named(name: str) -> tuple[Any, str]:
    """A StandIn of the name's last part, which is what an error shows, and the name."""
    return type(name.rpartition(".")[2], (StandIn,), {}), name


_one_at_a_time = threading.RLock()  # PyTorch's list of what it takes is the process's
_STAND_INS: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
    (NumPyDtype, "numpy.dtype"),
    (no_bytes, "builtins.bytes"),
    (numpy_scalar, "numpy.core.multiarray.scalar"),
    (numpy_scalar, "numpy._core.multiarray.scalar"),
    *map(
        _named,
        (
            "argparse.Namespace",
            "datetime.date",
            "datetime.datetime",
            "datetime.timedelta",
            "numpy._core.multiarray._reconstruct",
            "numpy.core.multiarray._reconstruct",
            "numpy.ndarray",
            "pathlib.PosixPath",
            "pathlib.PurePosixPath",
            "pathlib.PureWindowsPath",
            "pathlib.WindowsPath",
            "pathlib._local.PosixPath",
            "pathlib._local.WindowsPath",
            "torch.torch_version.TorchVersion",
            "types.SimpleNamespace",
        ),
    ),
]


@contextlib.contextmanager
def stand_ins() -> Iterator[None]:
    """Within this, torch.load(weights_only=True) takes the objects above; for one thread at a time."""
    with _one_at_a_time, torch.serialization.safe_globals(_STAND_INS):
        yield

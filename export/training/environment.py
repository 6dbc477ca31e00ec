"""The process around a run: device, determinism, and requests to stop."""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, TypeAlias

import torch

from msdk_rt.errors import InputError

Handler: TypeAlias = Callable[[int, FrameType | None], Any] | int | signal.Handlers | None


class Stopped(KeyboardInterrupt):
    """Ctrl-C or SIGTERM, raised where a run can be saved."""


class StopRequest:
    """Inside, the first SIGINT or SIGTERM is kept until check(); a second one acts as it would outside.

    Outside the main thread, where Python takes no signals, it changes nothing.
    """

    def __init__(self) -> None:
        self.requested = False
        self._handlers: dict[int, Handler] = {}

    def __enter__(self) -> "StopRequest":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._handlers[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers.clear()

    def check(self) -> None:
        """Raise Stopped if a signal came."""
        if self.requested:
            raise Stopped

    def _receive(self, *_: object) -> None:
        self.requested = True
        self.__exit__()


def torch_device(name: str) -> torch.device:
    """The device of that name; "auto" is CUDA where there is one. Raises InputError if it is not there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"device {name!r} cannot be used here ({reason}): expected auto, cpu, cuda"
        ) from error
    return device


@contextlib.contextmanager
def reproducible(device: torch.device, threads: int | None) -> Iterator[None]:
    """PyTorch with deterministic algorithms and this many threads, as it was before on leaving.

    On CUDA an operation that has no deterministic algorithm runs all the same, with PyTorch's warning.
    """
    # cuBLAS is deterministic only with a fixed workspace, chosen before its first call.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    memory: Any = torch.utils.deterministic  # its properties are not in its module's types
    before = (
        torch.get_num_threads(),
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        memory.fill_uninitialized_memory,
        torch.random.get_rng_state(),
    )
    if threads is not None:
        torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True, warn_only=device.type == "cuda")
    memory.fill_uninitialized_memory = False
    try:
        yield
    finally:
        count, deterministic, warn_only, fill, generator = before
        torch.set_num_threads(count)
        torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
        memory.fill_uninitialized_memory = fill
        torch.random.set_rng_state(generator)

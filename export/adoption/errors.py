"""Names the place in the user's own code that an error of the export comes from."""

import contextlib
import linecache
import re
import traceback
import types
from collections.abc import Iterator, Sequence
from pathlib import Path

import onnxscript
import torch
from torch import nn

import msdk_export
import msdk_rt
from msdk_export.wording import first_line
from msdk_rt.errors import ExportError, MsdkError

_OURS = ("torch", "onnxscript", "onnx", "msdk_export", "msdk_rt", "contextlib")
_FRAME = re.compile(r'File "([^"]+)", line (\d+), in \w+')
_LIBRARIES = tuple(
    Path(folder).resolve()
    for package in (torch, onnxscript, msdk_export, msdk_rt)
    for folder in package.__path__
)


@contextlib.contextmanager
def located(network: nn.Module, replaced: Sequence[str], running: bool = False) -> Iterator[None]:
    """Errors in the context as ExportErrors that name the module and the line that caused them.

    replaced: blocks that ran on the msdk ops at that moment, which the message mentions.
    running: whether the network is run in the context, so that errors that are not this project's are its.
    """
    try:
        yield
    except MsdkError as error:
        where = (
            _where(error, network) if isinstance(error, ExportError) and error.__cause__ is not None else ""
        )
        if not where:
            raise
        blocks = f". On the msdk ops: {', '.join(replaced)}" if replaced else ""
        raise type(error)(f"{error}{_reason(error)}{where}{blocks}") from error
    except Exception as error:
        if not running:
            raise
        reason = first_line(error) or type(error).__name__
        raise ExportError(
            f"PyTorch cannot export this network: {reason} ({type(network).__name__} in evaluation mode does "
            f"not run{_where(error, network)})"
        ) from error


def _reason(error: BaseException) -> str:
    """The message of the first of several errors, if the last does not contain it."""
    first = error
    while first.__cause__ is not None:
        first = first.__cause__
    said = first_line(first)
    return "" if not said or said in str(error) else f": {said}"


def _where(error: BaseException, network: nn.Module) -> str:
    """'; in stages.0 (Stage), model.py:12: `x = ...`', as much of it as is known."""
    paths = {id(module): name for name, module in network.named_modules()}
    place, line, traced = "", "", ""
    for frame, number in _frames(error):
        own, node = (frame.f_locals.get(name) for name in ("self", "node"))
        if isinstance(own, nn.Module) and id(own) in paths and frame.f_code.co_name != "__call__":
            place = f"{paths[id(own)] or 'the module itself'} ({type(own).__name__})"
        if str(frame.f_globals.get("__name__", "")).partition(".")[0] not in _OURS:
            line = _line(frame.f_code.co_filename, number)
        if isinstance(node, torch.fx.Node):
            traced = node.meta.get("stack_trace") or traced
    found = ", ".join(filter(None, (place, line or _last(traced))))
    return f"; in {found}" if found else ""


def _last(stack_trace: str) -> str:
    """The last line of the user's own code in the exporter's words for where an operation comes from."""
    line = ""
    for file, number in _FRAME.findall(stack_trace):
        path = Path(file).resolve()
        if path.is_file() and not any(path.is_relative_to(folder) for folder in _LIBRARIES):
            line = _line(file, int(number))
    return line


def _frames(error: BaseException) -> Iterator[tuple[types.FrameType, int]]:
    """Frames of the error and of what caused it, the outermost first, the causes' last."""
    yield from traceback.walk_tb(error.__traceback__)
    if error.__cause__ is not None:
        yield from _frames(error.__cause__)


def _line(file: str, number: int) -> str:
    code = linecache.getline(file, number).strip()
    return f"{file}:{number}" + (f": `{code}`" if code else "")

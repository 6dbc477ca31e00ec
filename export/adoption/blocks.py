"""A network's Mamba blocks: what each computes, found out by running it, and its place in the graph.

A block keeps its class, attributes and hooks, and every method of it stays the user's own. Only a call of one
of its forward functions may run on the msdk ops, and only if on every input that the network itself gave it
that function computed what the published block of these parameters does. A subclass that calls the forward of
its base class therefore decides what it does with it.
"""

import functools
import logging
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from msdk_export.adoption.agreement import agree
from msdk_export.adoption.device_checks import without_device_check
from msdk_export.adoption.interception import Handler
from msdk_export.adoption.mamba import looks_like_mamba, published_mamba
from msdk_export.adoption.parts import own_names
from msdk_export.adoption.scan_order import check_scan_order
from msdk_export.adoption.ss2d import looks_like_ss2d, published_ss2d
from msdk_export.adoption.wrappers import inner
from msdk_export.wording import first_line
from msdk_rt.errors import ExportError, MsdkError

OWN, PUBLISHED = "its own code", "the published block"
_PACKAGE = "mamba_ssm"
_log = logging.getLogger(__name__)


Key: TypeAlias = tuple[str, Callable[..., Any]]  # a block's path and one of its forward functions


class NotComparable(ExportError):
    """A block does not run here, so that nothing shows what it computes."""


@dataclass
class Findings:
    """What was found out about the blocks of one network, by the block's path in it."""

    readings: dict[Key, str] = field(default_factory=dict)
    unverified: set[str] = field(default_factory=set)
    by_name: set[str] = field(default_factory=set)
    past_check: set[str] = field(default_factory=set)
    unsaid: list[str] = field(default_factory=list)

    def replaced(self) -> list[str]:
        return sorted({name for (name, _), reading in self.readings.items() if reading != OWN})

    def kept(self) -> list[str]:
        return sorted({name for name, _ in self.readings} - set(self.replaced()))


class Blocks:
    """The blocks of a network and of its copies, and the handlers of their forward functions.

    unverified: take a block that does not run at its names, instead of raising NotComparable.
    """

    def __init__(self, unverified: bool):
        self.unverified = unverified
        self.tracing = False
        self.findings = Findings()
        self._blocks: dict[int, tuple[str, nn.Module]] = {}
        self._functions: dict[types.FunctionType, None] = {}
        self._variants: dict[Callable[..., Any], Callable[..., Any]] = {}
        self._readings: dict[int, dict[str, nn.Module]] = {}
        self._refusals: dict[str, ExportError] = {}

    def add(self, network: nn.Module) -> None:
        """Know the blocks of a network; those of a copy of it have the same names."""
        for name, module in _paths(network):
            if looks_like_ss2d(module) or looks_like_mamba(module):
                self._blocks[_identity(module)] = name or type(module).__name__, module
                self._functions |= dict.fromkeys(forward_functions(module))

    def forget(self, network: nn.Module) -> None:
        """Let go of a copy that is no longer needed."""
        for module in network.modules():
            self._blocks.pop(_identity(module), None)
            self._readings.pop(_identity(module), None)

    def slow_paths(self) -> dict[str, list[str]]:
        """Bidirectional blocks with use_fast_path=False: their paths, by what goes into the graph."""
        slow: dict[str, list[str]] = {}
        for name, block in self._blocks.values():
            if getattr(block, "use_fast_path", True) is False and {"A_b_log", "A_s_log"} & own_names(block):
                found = [r for (key, _), r in self.findings.readings.items() if key == name]
                names = slow.setdefault(found[-1] if found else OWN, [])
                names += [] if name in names else [name]
        return slow

    def handlers(self) -> dict[types.FunctionType, Handler]:
        return {function: functools.partial(self._call, function) for function in self._functions}

    def _call(
        self,
        function: Callable[..., Any],
        original: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> object:
        block = args[0] if args else None
        name = self._blocks.get(_identity(block), (None,))[0] if isinstance(block, nn.Module) else None
        own = self._variants.get(function, original)
        if block is None or name is None:
            return own(*args, **kwargs)
        key = name, function
        if self.tracing:
            reading = self.findings.readings.get(key, OWN)
            if reading == OWN:
                return own(*args, **kwargs)
            return self._read(block, name)[reading](*args[1:], **kwargs)
        before = _versions(args, kwargs)
        try:
            found = own(*args, **kwargs)
        except MsdkError:
            raise
        except Exception as error:
            return self._stand_in(key, own, args, kwargs, error)
        if _versions(args, kwargs) == before:
            self._judge(key, block, found, args, kwargs)
        else:  # it wrote into its inputs, which no published block does
            self.findings.readings[key] = OWN
        return found

    def _read(self, block: nn.Module, name: str) -> dict[str, nn.Module]:
        """Published readings of the block by name; none where its parameters are no published block's."""
        identity = _identity(block)
        if identity not in self._readings:
            self._readings[identity] = {}
            try:
                self._readings[identity] = _published(block, name, self.findings.unsaid)
            except ExportError as error:
                self._refusals[name] = error
        return self._readings[identity]

    def _judge(
        self, key: Key, block: nn.Module, found: object, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        """Note which reading this call agrees with: the same one at every call, or the block's own code."""
        name = key[0]
        before = self.findings.readings.get(key)
        if before == OWN:
            return
        readings = self._read(block, name)
        for reading in readings if before is None else [before]:
            if _agrees(readings[reading], args[1:], kwargs, found):
                self.findings.readings[key] = reading
                return
        self.findings.readings[key] = OWN
        _log.debug("%s keeps its own code in the graph", name)

    def _stand_in(
        self,
        key: Key,
        own: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        error: Exception,
    ) -> object:
        """What takes the place of a forward function that does not run here."""
        (name, function), block = key, args[0]
        variant = without_device_check(own, error)
        if variant is not None:
            self._variants[function] = variant
            self.findings.past_check.add(name)
            return self._call(function, variant, args, kwargs)
        readings = self._read(block, name)
        known = function.__module__.partition(".")[0] == _PACKAGE
        if not readings or not (known or self.unverified):
            raise self._refusal(name, block, error) from error
        _check_nothing_else(block, name)
        (self.findings.by_name if known else self.findings.unverified).add(name)
        self.findings.readings[key] = PUBLISHED
        return readings[PUBLISHED](*args[1:], **kwargs)

    def _refusal(self, name: str, block: nn.Module, error: Exception) -> ExportError:
        reason = first_line(error) or type(error).__name__
        if name in self._refusals:
            return ExportError(f"{self._refusals[name]}; nor does its own code run here ({reason})")
        return NotComparable(
            f"{name} ({type(block).__name__}) does not run on this machine "
            f"({type(error).__name__}: {reason}): nothing shows what it computes. Export where it runs, or "
            "with unverified=True, which takes it for the published block of its parameters and says so in "
            "what it writes"
        )


def _identity(block: nn.Module) -> int:
    """The same for a module and for the proxies that torch.export puts in place of one that is used twice."""
    return id(block._parameters)


def _paths(
    module: nn.Module, path: str = "", seen: set[nn.Module] | None = None
) -> Iterator[tuple[str, nn.Module]]:
    """Every module once with its path, in which wrappers that hand on their inputs have no place."""
    module, seen = inner(module), set() if seen is None else seen
    if module not in seen:
        seen.add(module)
        yield path, module
        for name, part in module._modules.items():
            if part is not None:
                yield from _paths(part, f"{path}.{name}".lstrip("."), seen)


def forward_functions(block: nn.Module) -> list[types.FunctionType]:
    """The functions that the block's forward may be: its own attribute's, and its classes' of the name."""
    found: list[object] = []
    own = vars(block).get("forward")
    while isinstance(own, functools.partial):
        own = own.func
    if isinstance(own, types.MethodType) and own.__self__ is block:
        found.append(own.__func__)
    for kind in type(block).__mro__:
        if kind is nn.Module:
            break
        found.append(vars(kind).get("forward"))
    return [
        function for function in found if isinstance(function, types.FunctionType) and not _of_torch(function)
    ]


def _of_torch(function: types.FunctionType) -> bool:
    return function.__module__.partition(".")[0] in ("torch", "msdk_export")


class FromTheLast(nn.Module):
    """A reading of the tokens (B, L, C) from the last to the first."""

    def __init__(self, reading: nn.Module):
        super().__init__()
        self.reading = reading

    def forward(self, hidden_states: Tensor, *arguments: object, **named: object) -> Tensor:
        tokens: Tensor = self.reading(hidden_states.flip(1), *arguments, **named)
        return tokens.flip(1)


def _published(block: nn.Module, name: str, unsaid: list[str]) -> dict[str, nn.Module]:
    """What a block of these parameters may compute, the published block first."""
    if looks_like_ss2d(block):
        return {
            PUBLISHED: published_ss2d(block, name, strict=False),
            "the published block without an activation": published_ss2d(block, name, False, strict=False),
        }
    whole = published_mamba(block, name, unsaid, strict=False)
    if "," in whole.mamba.directions:
        ahead = published_mamba(block, name, [], forward_alone=True, strict=False)
        return {PUBLISHED: whole, "the forward direction alone": ahead}
    return {PUBLISHED: whole, "the published block from the last token": FromTheLast(whole)}


def _check_nothing_else(block: nn.Module, name: str) -> None:
    """Raise ExportError where anything about a block that does not run says that it is no published one."""
    if looks_like_ss2d(block):
        published_ss2d(block, name)
        check_scan_order(block, name)
    else:
        published_mamba(block, name, [])


def _versions(args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[int]:
    """How often each tensor among the arguments was written to."""
    tensors = [leaf for leaf in tree_leaves((args[1:], kwargs)) if isinstance(leaf, Tensor)]
    return [0 if tensor.is_inference() else tensor._version for tensor in tensors]


def _agrees(reading: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], found: object) -> bool:
    try:
        with torch.no_grad():
            return agree(reading(*args, **kwargs), found)
    except Exception:  # another calling convention, or tokens of another shape: it is not this block
        return False

"""Intercepts functions of other code wherever they are bound.

A function's code object is exchanged, not a name in some module: `from x import f`, methods already bound,
closures, default arguments and calls by super() all reach the same function object.
"""

import ast
import contextlib
import threading
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch

# handler(original, args, kwargs) -> what the call returns.
Handler = Callable[[Callable[..., Any], tuple[Any, ...], dict[str, Any]], object]

_ONE_AT_A_TIME = threading.RLock()
_PLACE = "the handler"
_CALL = f"""
def call(*args, **kwargs):
    handler = {_PLACE!r}
    return handler(*args, **kwargs)
"""


@contextlib.contextmanager
def intercepted(handlers: Mapping[types.FunctionType, Handler]) -> Iterator[None]:
    """Send every call of these functions to its handler, on any thread, until the context ends.

    Contexts on several threads wait for one another.
    """
    with _ONE_AT_A_TIME, contextlib.ExitStack() as exchanged:
        for function, handler in handlers.items():
            code = function.__code__
            exchanged.callback(setattr, function, "__code__", code)
            function.__code__ = _code_calling(handler, copied(function))
        yield


@contextlib.contextmanager
def intercepted_applies(handlers: Mapping[type[torch.autograd.Function], Handler]) -> Iterator[None]:
    """The same for `apply` of autograd functions."""
    with _ONE_AT_A_TIME, contextlib.ExitStack() as exchanged:
        for kind, handler in handlers.items():
            if "apply" in vars(kind):
                exchanged.callback(setattr, kind, "apply", vars(kind)["apply"])
            else:
                exchanged.callback(delattr, kind, "apply")
            exchange = staticmethod(_calling(handler, kind.apply))
            kind.apply = exchange  # type: ignore[method-assign]  # until the context ends
        yield


def copied(function: types.FunctionType, code: types.CodeType | None = None) -> types.FunctionType:
    """A separate function that does the same as this one, or runs `code` in its place."""
    copy = types.FunctionType(
        code or function.__code__,
        function.__globals__,
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
    copy.__kwdefaults__ = function.__kwdefaults__
    copy.__dict__.update(function.__dict__)  # __wrapped__, for the signature
    copy.__module__, copy.__qualname__ = function.__module__, function.__qualname__
    return copy


def _calling(handler: Handler, original: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *args, **kwargs: handler(original, args, kwargs)


def _code_calling(handler: Handler, original: types.FunctionType) -> types.CodeType:
    """Code that calls the handler; it can take the place of the original's, whatever that closes over."""
    free = original.__code__.co_freevars
    definition = ast.parse(_CALL).body[0]
    assert isinstance(definition, ast.FunctionDef)
    definition.body += [
        ast.Expr(ast.Name(name, ast.Load())) for name in free
    ]  # never reached, but closed over
    code = code_closing_over(free, definition)
    call = _calling(handler, original)
    return code.replace(
        co_consts=tuple(call if constant == _PLACE else constant for constant in code.co_consts),
        co_name=original.__code__.co_name,
    )


def code_closing_over(names: tuple[str, ...], definition: ast.FunctionDef) -> types.CodeType:
    """The code of a function as it is when these names are those of functions around it."""
    outer = ast.parse("def outer(): pass").body[0]
    assert isinstance(outer, ast.FunctionDef)
    nothing = [ast.Assign([ast.Name(name, ast.Store())], ast.Constant(None)) for name in names]
    outer.body = [*nothing, definition]
    tree = ast.fix_missing_locations(ast.Module([outer], []))
    (enclosing,) = _codes(compile(tree, f"<{definition.name}>", "exec"), "outer")
    (code,) = _codes(enclosing, definition.name)
    return code


def _codes(code: types.CodeType, name: str) -> list[types.CodeType]:
    return [value for value in code.co_consts if isinstance(value, types.CodeType) and value.co_name == name]

"""Runs a forward whose own Python refuses to run without a GPU, without that one check.

Some code says `if not x.is_cuda: raise ...` before it computes what a CPU could compute as well. The check is
taken out of a copy of the function; everything else in it stays the user's.
"""

import ast
import inspect
import re
import textwrap
import types
from collections.abc import Callable
from typing import Any

from msdk_export.adoption.interception import code_closing_over, copied

_OF_A_DEVICE = re.compile(r"cuda|gpu|device|triton|kernel", re.IGNORECASE)


def without_device_check(function: Callable[..., Any], error: BaseException) -> Callable[..., Any] | None:
    """The function without the `raise` or `assert` in it that gave this error.

    None where the error came from elsewhere or does not name a device, or the source is not available.
    """
    if not isinstance(function, types.FunctionType) or not _OF_A_DEVICE.search(str(error)):
        return None
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None or trace.tb_frame.f_code is not function.__code__:
        return None
    try:
        lines, first = inspect.getsourcelines(function)
        tree = ast.parse(textwrap.dedent("".join(lines)))
    except (OSError, TypeError, SyntaxError):
        return None
    check = _Check(trace.tb_lineno - first + 1)
    tree = check.visit(tree)
    if not check.found or not isinstance(tree.body[0], ast.FunctionDef):
        return None
    definition = tree.body[0]
    definition.decorator_list = []
    code = code_closing_over(function.__code__.co_freevars, definition)
    return copied(function, code) if code.co_freevars == function.__code__.co_freevars else None


class _Check(ast.NodeTransformer):
    """Takes out the `assert` on a line, or the `if` that does nothing but raise on it."""

    def __init__(self, line: int):
        self.line = line
        self.found = False

    def visit_If(self, node: ast.If) -> ast.AST:
        if not node.orelse and len(node.body) == 1 and self._is_it(node.body[0], ast.Raise):
            return self._taken_out(node)
        return self.generic_visit(node)

    def visit_Assert(self, node: ast.Assert) -> ast.AST:
        return self._taken_out(node) if self._is_it(node, ast.Assert) else node

    def _is_it(self, node: ast.stmt, kind: type[ast.stmt]) -> bool:
        return isinstance(node, kind) and node.lineno <= self.line <= (node.end_lineno or node.lineno)

    def _taken_out(self, node: ast.stmt) -> ast.Pass:
        self.found = True
        return ast.copy_location(ast.Pass(), node)

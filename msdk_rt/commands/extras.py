"""Whether the packages of an extra are here."""

import importlib.util
from collections.abc import Sequence

from msdk_rt.errors import BackendError


def check_extra(who: str, modules: Sequence[str], extra: str) -> None:
    """Raise BackendError for the first module that is missing. who: needs them, with its article."""
    for module in modules:
        if importlib.util.find_spec(module) is None:
            raise BackendError(
                f"{who} needs {module}, which is not installed: pip install 'msdk_rt[{extra}]'"
            )

"""The tests of the suite that do their work on a GPU alone: every other run skips them, a GPU's may not."""

import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.gpu.environment import run
from tests.gpu.report import Skip

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = (ROOT / "tests" / "runtime" / "backends",)
NEEDED = ("pytest", "cuda.bindings", "onnxruntime")


def run_marked(places: Sequence[Path] = FOLDERS) -> str:
    """Run what is marked `gpu` in these places; returns pytest's last line.

    Raises RuntimeError where a test fails, none is found, or one is skipped: then nothing was shown of it.
    """
    if missing := [name for name in NEEDED if not _is_installed(name)]:
        raise Skip(f"{', '.join(missing)} is not installed: run `make setup`")
    command = [sys.executable, "-m", "pytest", "-c", ROOT / "pyproject.toml", "--rootdir", ROOT, "-m", "gpu"]
    printed = run([*command, "-q", "-p", "no:cacheprovider", *places])
    last = printed.splitlines()[-1]
    if "skipped" in last:
        raise RuntimeError(f"a test for a GPU was skipped on one:\n{printed[-4000:]}")
    return last


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # its package
        return False

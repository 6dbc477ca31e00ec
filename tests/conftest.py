"""Fixtures for every test: small artifacts that need no PyTorch."""

import os
import sys
from pathlib import Path

import pytest

from tests.support.small_model import write_artifact

# Before PyTorch is imported. Tests run side by side, and small operations on more threads than there are idle
# cores wait for one another: the end-to-end test then takes 20 times as long.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    """model.onnx with one channel, two labels and an 8 x 6 x 7 window."""
    return write_artifact(tmp_path / "model.onnx")


ON_TENSORRT = ("msdk_export.engine.builder", "msdk_rt.backends.tensorrt")


@pytest.fixture
def import_tensorrt(monkeypatch):
    """Call with what `import tensorrt` shall give:

    modules on top of it are imported again, later forgotten.
    """

    def become(module):
        monkeypatch.setitem(sys.modules, "tensorrt", module)
        forget()

    def forget():
        for name in ON_TENSORRT:
            sys.modules.pop(name, None)

    yield become
    forget()

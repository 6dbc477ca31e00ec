"""Fixtures for every test: small artifacts that need no PyTorch."""

import os
from pathlib import Path

import pytest
from small_model import write_artifact

# Before PyTorch is imported. Tests run side by side, and small operations on more threads than there are idle
# cores wait for one another: the end-to-end test then takes 20 times as long.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    """model.onnx with one channel, two labels and an 8 x 6 x 7 window."""
    return write_artifact(tmp_path / "model.onnx")

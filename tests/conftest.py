"""Fixtures for every test: small artifacts that need no PyTorch."""

from pathlib import Path

import pytest
from small_model import write_artifact


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    """model.onnx with one channel, two labels and an 8 x 6 x 7 window."""
    return write_artifact(tmp_path / "model.onnx")

"""Fixtures of the PTX machine's tests, which need nvcc."""

from pathlib import Path

import pytest

from tests.gpu.device import Device
from tests.ptx_machine.build import COMPILED, build, nvcc


@pytest.fixture(scope="session")
def device() -> Device:
    """The machine's memory, and the project's kernels as they are."""
    if not nvcc():
        pytest.skip("nvcc is not on PATH: the PTX machine executes what it emits")
    return Device(build(COMPILED / "libraries"))


@pytest.fixture
def folder(device: Device, tmp_path: Path) -> Path:
    """An empty folder for libraries of another kind."""
    return tmp_path

"""The spheres' dataset and a run on it that was never stopped, once for all tests of training."""

from pathlib import Path

import pytest

from msdk_export.training.run import train
from tests.support.spheres import decathlon
from tests.support.tiny_run import TINY_RUN


@pytest.fixture(scope="session")
def data(tmp_path_factory) -> Path:
    return decathlon(tmp_path_factory.mktemp("spheres"), cases=3)


@pytest.fixture(scope="session")
def whole(data, tmp_path_factory) -> Path:
    """TINY_RUN without interruption."""
    out = tmp_path_factory.mktemp("whole")
    train(data, out, TINY_RUN)
    return out

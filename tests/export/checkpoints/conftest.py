"""Weights that the tests of checkpoint files share."""

import pytest

from tests.support.checkpoint_files import weights_of


@pytest.fixture(scope="module")
def weights():
    return weights_of()


@pytest.fixture(scope="module")
def average():
    return weights_of(1)

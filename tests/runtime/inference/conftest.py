import pytest

from tests.support.emulated_device import EmulatedDevice
from tests.support.segmenters_on_device import on_device


@pytest.fixture
def device():
    """An emulated device, on which every Segmenter of the test works."""
    device = EmulatedDevice()
    with on_device(device):
        yield device

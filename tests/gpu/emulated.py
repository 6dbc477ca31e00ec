"""The volume checks on the emulator: python -m tests.gpu.emulated FOLDER, the emulated libraries in it."""

import ctypes
import mmap
import sys
from pathlib import Path

import numpy as np

from tests.gpu import volume_checks
from tests.gpu.device import Device

MAP_NORESERVE = 0x4000  # of Linux, which Python's mmap does not name


def sparse(shape: tuple[int, ...]) -> np.ndarray:
    """Zeros, float32, of which only the pages that are touched take memory."""
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_NORESERVE
    return np.frombuffer(mmap.mmap(-1, 4 * int(np.prod(shape)), flags=flags), np.float32).reshape(shape)


def check_a_volume_beyond_2_to_the_31(device: Device) -> int:
    """A window at the far corner of 2.3 G voxels a channel, cut and blended: every index in 64 bits.

    Emulated device memory is the host's, so that arrays with hardly a page in use can stand for it.
    """
    library, window, shape = device.library("msdk_volume"), (3, 4, 5), (1100, 1400, 1500)
    volume, total, weight_sum = sparse((2, *shape)), sparse((2, *shape)), sparse(shape)
    rng = np.random.default_rng(31)
    corner = (..., *(slice(-side, None) for side in window))
    volume[corner] = rng.random((2, *window), np.float32)
    starts = device.put(np.subtract(shape, window)[None])
    plan = volume_checks.plan_of(2, shape, window, starts)
    cut, weights = device.empty((1, 2, *window)), rng.random(window, np.float32)
    pointer = ctypes.c_void_p
    library.msdk_volume_gather(ctypes.byref(plan), pointer(volume.ctypes.data), 0, cut, 0, None)
    np.testing.assert_array_equal(cut.get()[0], volume[corner])
    sums = (pointer(array.ctypes.data) for array in (total, weight_sum))
    flags = device.put(np.zeros(1, np.int32))
    library.msdk_volume_accumulate(ctypes.byref(plan), cut, 0, 1, device.put(weights), 0, *sums, flags, None)
    np.testing.assert_array_equal(total[corner], volume[corner] * weights)
    np.testing.assert_array_equal(weight_sum[corner], weights)
    return 2


def main() -> None:
    device = Device(Path(sys.argv[1]))
    for check in (*volume_checks.CHECKS, check_a_volume_beyond_2_to_the_31):
        print(f"{check.__name__}: {check(device)} cases", flush=True)


if __name__ == "__main__":
    main()

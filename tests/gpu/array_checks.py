"""Arrays of other libraries that are already on the GPU: taken from there, and labels left there for them."""

import contextlib
from collections.abc import Callable

import numpy as np

from msdk_rt import Segmenter
from msdk_rt.errors import InputError
from tests.gpu.report import Skip
from tests.gpu.segmenter_checks import volume_of


def check_arrays(segmenter: Segmenter) -> str:
    """Every library here that makes arrays on a GPU: labels are, bit for bit, as of the host's volume."""
    if segmenter.manifest.resampling:
        raise Skip("the model resamples volumes by the spacing of their files, on the host")
    if segmenter.manifest.brain_mask:
        raise Skip("the model's brain mask runs on the host, so it refuses arrays on a GPU")
    volume = volume_of(segmenter, 3)
    expected = segmenter.run(volume)
    done, missing = [], []
    for name, exchange in EXCHANGES.items():
        try:
            found = exchange(segmenter, volume)
        except ImportError as error:
            missing.append(error.name or name)
            continue
        np.testing.assert_array_equal(found, expected, err_msg=name)
        done.append(name)
    if not done:
        raise Skip(f"none of {', '.join(missing)} is installed")
    said = f"labels as of the host's volume: {', '.join(done)}"
    return f"{said}; not here: {', '.join(missing)}" if missing else said


def pytorch(segmenter: Segmenter, volume: np.ndarray) -> np.ndarray:
    """On a stream that is not the default one, and computed there just before."""
    import torch

    with torch.cuda.stream(torch.cuda.Stream()):
        doubled = torch.from_numpy(volume).cuda() * 2
        labels = torch.from_dlpack(segmenter.run(doubled / 2))
        return (labels + 0).cpu().numpy()


def cupy(segmenter: Segmenter, volume: np.ndarray) -> np.ndarray:
    import cupy

    with cupy.cuda.Stream(non_blocking=True):
        doubled = cupy.asarray(volume) * 2
        labels = cupy.from_dlpack(segmenter.run(doubled / 2))
        return cupy.asnumpy(labels)


def numba(segmenter: Segmenter, volume: np.ndarray) -> np.ndarray:
    """By `__cuda_array_interface__` alone; what is not in C order is refused."""
    from numba import cuda

    refused = cuda.to_device(np.asfortranarray(volume))
    with contextlib.suppress(InputError):
        segmenter.run(refused)
        raise AssertionError("Numba: an array in Fortran order was taken")
    return cuda.as_cuda_array(segmenter.run(cuda.to_device(volume))).copy_to_host()


EXCHANGES: dict[str, Callable[[Segmenter, np.ndarray], np.ndarray]] = {
    "PyTorch": pytorch,
    "CuPy": cupy,
    "Numba": numba,
}

"""Whether this machine has a GPU that CUDA runs on."""

from msdk_rt.errors import BackendError


def has_gpu() -> bool:
    try:
        from msdk_rt.backends import cuda

        return bool(cuda.compute_capability())
    except BackendError:
        return False

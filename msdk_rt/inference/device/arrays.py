"""Arrays on a CUDA device: those of other libraries taken without a copy, and results that stay there.

Two protocols, each way: `__cuda_array_interface__` version 3 (CuPy, PyCUDA, Numba, PyTorch) and DLPack.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from msdk_rt.backends.base import Device
from msdk_rt.errors import InputError
from msdk_rt.inference.device import dlpack


def is_device_array(value: object) -> bool:
    """Whether a value says that its data are on a CUDA device."""
    return dlpack.is_on_cuda(value) or _interface(value) is not None


@dataclass(frozen=True, eq=False)
class DeviceVolume:
    """float32 in C order at an address of the device.

    owner: keeps the memory. stream: the handle of a stream that a reader must wait for, or None.
    """

    address: int
    shape: tuple[int, ...]
    owner: object
    stream: int | None = None

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: int) -> "DeviceVolume":
        """One volume of a batch. Raises IndexError beyond the last."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        step = 4 * int(np.prod(self.shape[1:], dtype=np.int64))
        return replace(self, address=self.address + index * step, shape=self.shape[1:])


def device_volume(value: object, cuda: Device, device: int, stream: int) -> DeviceVolume:
    """Take an array for which is_device_array is true, without a copy.

    device: the network's. stream: the one that will read it.

    Raises InputError for another type than float32, another order than C, or memory of another device.
    """
    if dlpack.is_on_cuda(value):  # first, since PyTorch's other interface names no stream to follow
        tensor = dlpack.taken(value, stream)
        lent = _Lent(tensor.address, tensor.dtype, tensor.shape, tensor.strides, tensor, None)
    else:
        lent = _by_interface(value)
    dtype, shape, strides = lent.dtype, lent.shape, lent.strides
    if dtype != np.float32:
        raise InputError(
            f"got a device array of {dtype}, expected float32: convert it there, array.astype('float32') in "
            "CuPy, PyCUDA and Numba, tensor.float() in PyTorch"
        )
    if strides is not None and not _in_c_order(shape, strides, dtype.itemsize):
        raise InputError(
            f"got a device array of shape {tuple(shape)} with strides {tuple(strides)} in bytes, expected C "
            "order: make it contiguous there, cupy.ascontiguousarray(array), tensor.contiguous()"
        )
    if np.prod(shape) and (found := cuda.device_of(lent.address)) != device:
        raise InputError(f"got an array in the memory of device {found}, expected device {device}: copy it")
    return DeviceVolume(lent.address, shape, lent.owner, lent.producer)


class _Lent(NamedTuple):
    """An array of another library. strides in bytes, None for C order. producer: a stream to follow."""

    address: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    strides: tuple[int, ...] | None
    owner: object
    producer: int | None


def _by_interface(value: object) -> _Lent:
    interface = _interface(value)
    if interface is None:
        raise InputError(f"got a {type(value).__name__}, expected an array on a CUDA device")
    if interface.get("mask") is not None:
        raise InputError("got a masked device array: fill in the masked voxels first")
    return _Lent(
        interface["data"][0],
        np.dtype(interface["typestr"]),
        tuple(interface["shape"]),
        interface.get("strides"),
        value,
        interface.get("stream"),
    )


def _interface(value: Any) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = value.__cuda_array_interface__
    except AttributeError:  # a tensor of PyTorch has it or not, as its device is
        return None
    except (RuntimeError, TypeError) as error:
        raise InputError(f"got a {type(value).__name__} that gives no device memory: {error}") from error
    return found


def _in_c_order(shape: Sequence[int], strides: Sequence[int], itemsize: int) -> bool:
    """Whether strides, in bytes, are those of C order; axes of one element may have any."""
    if 0 in shape:
        return True
    expected = itemsize
    for side, stride in zip(reversed(shape), reversed(strides), strict=True):
        if side != 1 and stride != expected:
            return False
        expected *= side
    return True


class DeviceArray:
    """A result that stays on the device: labels (D, H, W), or probabilities (K, D, H, W), in C order.

    It is complete, so that nothing needs to be waited for. `cupy.asarray(result)`, `torch.as_tensor(result,
    device="cuda")`, `torch.from_dlpack(result)` and the like read it where it lies; `get()` copies it to the
    host. The memory lives as long as this object, or what was made of it by DLPack.
    """

    def __init__(self, cuda: Device, device: int, shape: tuple[int, ...], dtype: npt.DTypeLike):
        self.shape, self.dtype, self.device = tuple(shape), np.dtype(dtype), device
        self.nbytes = int(np.prod(shape, dtype=np.int64)) * self.dtype.itemsize
        self._cuda, self._memory = cuda, cuda.DeviceMemory(self.nbytes)
        self.address: int = self._memory.address

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {
            "shape": self.shape,
            "typestr": self.dtype.str,
            "data": (self.address, False),
            "strides": None,
            "stream": None,
            "version": 3,
        }

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._cuda.DLPACK_DEVICE_TYPE, self.device

    def __dlpack__(
        self,
        *,
        stream: object = None,
        max_version: object = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> object:
        """A DLPack capsule. Raises BufferError for a copy or another device, which are not made here."""
        if copy or dl_device not in (None, self.__dlpack_device__()):
            raise BufferError("a result on the device is shared where it lies, or not at all")
        return dlpack.capsule(self, self.__dlpack_device__())

    def get(self) -> npt.NDArray[Any]:
        """A copy on the host."""
        host = np.empty(self.shape, self.dtype)
        with self._cuda.on_device(self.device):
            stream = self._cuda.Stream()
            stream.download(self.address, host)
            stream.synchronize()
        return host

    def __repr__(self) -> str:
        return f"DeviceArray(shape={self.shape}, dtype={self.dtype}, device={self.device})"


def on_host(array: npt.NDArray[Any] | DeviceArray) -> npt.NDArray[Any]:
    """The array itself, or a copy of what lies on the device."""
    return array.get() if isinstance(array, DeviceArray) else array

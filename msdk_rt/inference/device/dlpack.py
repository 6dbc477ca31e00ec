"""DLPack capsules through ctypes: https://dmlc.github.io/dlpack, the struct DLManagedTensor."""

import atexit
import ctypes
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from msdk_rt.errors import InputError

CUDA, CUDA_MANAGED = 2, 13
NAME = b"dltensor"
_KINDS = {0: "i", 1: "u", 2: "f", 6: "b"}  # DLDataTypeCode: kDLInt, kDLUInt, kDLFloat, kDLBool
_CODES = {kind: code for code, kind in _KINDS.items()}

_release = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


def _python_api(name: str, result: Any, *arguments: Any) -> Callable[..., Any]:
    return ctypes.PYFUNCTYPE(result, *arguments)((name, ctypes.pythonapi))


_new = _python_api("PyCapsule_New", ctypes.py_object, ctypes.c_void_p, ctypes.c_char_p, _release)
_pointer_of = _python_api("PyCapsule_GetPointer", ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)
# A capsule that is being destroyed must not be counted again: it is passed as an address.
_is_named = _python_api("PyCapsule_IsValid", ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p)
_pointer_of_dying = _python_api("PyCapsule_GetPointer", ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p)


class _Tensor(ctypes.Structure):
    """DLTensor."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


class _Managed(ctypes.Structure):
    """DLManagedTensor."""

    _fields_ = (("tensor", _Tensor), ("context", ctypes.c_void_p), ("deleter", _release))


class Taken:
    """A tensor that another library lends while this object lives. strides in bytes, None for C order."""

    def __init__(self, capsule: object):
        self._capsule = capsule
        tensor = _Managed.from_address(_pointer_of(capsule, NAME)).tensor
        self.address = (tensor.data or 0) + tensor.byte_offset
        self.shape = tuple(tensor.shape[axis] for axis in range(tensor.ndim))
        kind = _KINDS.get(tensor.code, "V") if tensor.lanes == 1 else "V"
        self.dtype = np.dtype(f"{kind}{tensor.bits // 8 * tensor.lanes}")
        strides, size = tensor.strides, self.dtype.itemsize
        self.strides = tuple(strides[axis] * size for axis in range(tensor.ndim)) if strides else None


def is_on_cuda(value: Any) -> bool:
    """Whether a tensor says so; one without memory, of PyTorch's device meta, says nothing."""
    try:
        return value.__dlpack_device__()[0] in (CUDA, CUDA_MANAGED)
    except (AttributeError, BufferError, RuntimeError, TypeError, ValueError):
        return False


def taken(value: Any, stream: int) -> Taken:
    """Borrow the tensor `value` for the stream of this handle; the lender makes it wait for its own.

    Raises InputError for a tensor that is not lent, such as one that requires a gradient.
    """
    try:
        return Taken(value.__dlpack__(stream=stream))
    except (BufferError, RuntimeError, TypeError) as error:
        raise InputError(f"got a {type(value).__name__} that gives no device memory: {error}") from error


class Lent(Protocol):
    """An array of ours on the device, in C order."""

    address: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


_lent: dict[int, tuple[object, ...]] = {}


def capsule(array: Lent, device: tuple[int, int]) -> object:
    """A capsule over array.address, .shape and .dtype, C order; keeps `array` until its taker lets go."""
    shape = (ctypes.c_int64 * len(array.shape))(*array.shape)
    managed = _Managed(deleter=_let_go)
    tensor = managed.tensor
    tensor.data, (tensor.device_type, tensor.device_id) = array.address, device
    tensor.ndim, tensor.shape = len(array.shape), shape
    tensor.code, tensor.bits, tensor.lanes = _CODES[array.dtype.kind], 8 * array.dtype.itemsize, 1
    address = ctypes.addressof(managed)
    _lent[address] = managed, shape, array
    return _new(address, NAME, _let_go_unused)


def _forget(managed: int) -> None:
    _lent.pop(managed, None)


def _forget_unused(capsule: int) -> None:
    """A taker renames a capsule; one that still has its name was never taken."""
    if _is_named(capsule, NAME):
        _lent.pop(_pointer_of_dying(capsule, NAME), None)


_let_go = _release(_forget)
_let_go_unused = _release(_forget_unused)


@atexit.register
def _outlive_python() -> None:
    """What is still lent when Python ends is never freed: a taker in C++ may let go of it after that.

    A tensor without a deleter is part of DLPack's contract.
    """
    for kept in _lent.values():
        managed = kept[0]
        assert isinstance(managed, _Managed)
        managed.deleter = _release()
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(kept))

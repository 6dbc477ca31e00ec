"""Kernels written in PTX by hand, launched from Python as host code of nvcc launches its own."""

import ctypes
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.gpu.device import Array
from tests.ptx_machine.build import (
    CPP_FLAGS,
    MACHINE,
    compiled,
    cpp_compiler,
    digest,
    link,
    machine_library,
    translated_objects,
    written,
)
from tests.ptx_machine.ptx import kernels_of

HEAD = ".version 9.0\n.target sm_75\n.address_size 64\n"
# What a kernel is called by: the address of a function of its library.
STUB = 'extern "C" __attribute__((visibility("default"))) void stub() {}'


class Dim(ctypes.Structure):
    _fields_ = (("x", ctypes.c_uint), ("y", ctypes.c_uint), ("z", ctypes.c_uint))


class HandWritten:
    """A module of one kernel. Raises PtxError where the machine does not know the PTX."""

    def __init__(self, ptx: str, folder: Path):
        text = HEAD + ptx
        self.folder = folder
        with ThreadPoolExecutor(2) as pool:
            machine = machine_library(pool)
            objects = translated_objects(text, pool)
        objects.append(compiled(written(STUB), [cpp_compiler(), *CPP_FLAGS], MACHINE))
        library = folder / f"lib{digest(text)}.so"
        link(library, objects, machine)
        self._machine = ctypes.CDLL(str(machine))
        self._stub = ctypes.CDLL(str(library)).stub
        symbol = kernels_of(text)[0].symbol.encode()
        nothing = [None] * 6
        getattr(self._machine, "__cudaRegisterFunction")(None, self._stub, None, symbol, *nothing)
        self._machine.cudaGetErrorString.restype = ctypes.c_char_p

    def launch(self, threads: int, *arguments: Array | int, blocks: int = 1, shared_bytes: int = 0) -> str:
        """What the launch was refused or ended with; nothing where it is done."""
        values = [
            argument._as_parameter_ if isinstance(argument, Array) else ctypes.c_int(argument)
            for argument in arguments
        ]
        pointers = (ctypes.c_void_p * len(values))(*map(ctypes.addressof, values))
        launch = getattr(self._machine, "__cudaLaunchKernel")
        sizes = Dim(blocks, 1, 1), Dim(threads, 1, 1)
        if error := launch(self._stub, *sizes, pointers, ctypes.c_size_t(shared_bytes), None):
            return str(self._machine.cudaGetErrorString(error).decode())
        return ""

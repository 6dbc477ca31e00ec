"""nvcc, nvdisasm and cuobjdump: from source or a library to the kernels of sass_code.py."""

import importlib.metadata
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.sass_code import Kernel, kernels_in, readable

USAGE = re.compile(r"Function (\w+):\s+REG:(\d+) STACK:(\d+) SHARED:(\d+) LOCAL:(\d+)")
RESERVED = {90: 1024, 120: 1024}  # bytes of every block's shared memory that the driver takes


class ToolMissing(Exception):
    """nvcc, nvdisasm or cuobjdump is not here."""


@dataclass(frozen=True)
class Tools:
    nvcc: str
    nvdisasm: str
    cuobjdump: str

    @classmethod
    def found(cls) -> "Tools":
        """Those on PATH or of NVIDIA's packages. Raises ToolMissing."""
        nvcc = os.environ.get("CUDACXX") or shutil.which("nvcc")
        if not nvcc:
            raise ToolMissing("nvcc is not on PATH: it comes with the CUDA toolkit; CUDACXX can name it")
        return cls(nvcc, tool("nvdisasm"), tool("cuobjdump"))

    @property
    def release(self) -> str:
        found = re.search(r"V(\d+\.\d+\.\d+)", run([self.nvcc, "--version"]))
        return found[1] if found else "unknown"

    def compile(self, source: Path, cubin: Path, architecture: int, include: Path) -> None:
        target = f"-arch=sm_{architecture}"
        run([self.nvcc, "-std=c++17", "-O3", f"-I{include}", target, "-cubin", str(source), "-o", str(cubin)])

    def kernels_in(self, file: Path) -> dict[int, dict[str, Kernel]]:
        """By architecture, the kernels of a cubin or a library under their readable names."""
        with tempfile.TemporaryDirectory() as folder:
            cubins = [file.resolve()]
            if file.suffix != ".cubin":
                run([self.cuobjdump, "-xelf", "all", str(file.resolve())], folder)
                cubins = sorted(Path(folder).glob("*.cubin"))
            found: dict[int, dict[str, Kernel]] = {}
            for cubin in cubins:
                listing = run([self.nvdisasm, "-c", str(cubin)])
                target = re.search(r"\.target\s+sm_(\d+)", listing)
                if target is None:
                    raise RuntimeError(f"{file}: expected .target sm_... in what nvdisasm lists, got none")
                architecture = int(target[1])
                kernels = self._named(listing, cubin, architecture)
                found.setdefault(architecture, {}).update(kernels)
        return found

    def _named(self, listing: str, cubin: Path, architecture: int) -> dict[str, Kernel]:
        usages = {
            found[1]: found for found in USAGE.finditer(run([self.cuobjdump, "-res-usage", str(cubin)]))
        }
        kernels = [kernel for kernel in kernels_in(listing) if kernel.name in usages]
        named = {}
        for kernel, name in zip(kernels, readable([kernel.name for kernel in kernels]), strict=True):
            registers, stack, shared, local = map(int, usages[kernel.name].groups()[1:])
            shared = max(0, shared - RESERVED.get(architecture, 0))
            named[name] = replace(kernel, name=name, registers=registers, shared=shared, local=stack + local)
        return named


def tool(name: str) -> str:
    """A disassembler on PATH or of its package. Raises ToolMissing."""
    if found := shutil.which(name):
        return found
    package = f"nvidia-cuda-{name}"
    try:
        files = importlib.metadata.files(package) or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name == name:
            return str(file.locate())
    raise ToolMissing(f"{name} is not on PATH: it comes with the CUDA toolkit, or pip install {package}")


def run(command: list[str], folder: str | None = None) -> str:
    """What the command prints. Raises RuntimeError with what it said where it fails."""
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed: {done.stderr[-3000:]}")
    return done.stdout

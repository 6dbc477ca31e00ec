"""Builds libraries whose kernels run on the PTX machine: real host objects of nvcc, and their own PTX as C++.

Everything compiled is kept in build/ptx-machine, by a digest of what it was made of.
"""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.ptx_machine.ptx import Kernel, PtxError, kernels_of
from tests.ptx_machine.translate import module_of, translated

ROOT = Path(__file__).resolve().parents[2]
PLUGINS, GPU = ROOT / "plugins", ROOT / "tests" / "gpu"
MACHINE = Path(__file__).resolve().parent / "machine"
COMPILED = ROOT / "build" / "ptx-machine"
SOURCES = {
    "check_device": (GPU / "device.cu",),
    "check_ops": (*sorted(PLUGINS.glob("ops/*/cuda.cu")), PLUGINS / "ops/directions.cpp", GPU / "ops.cpp"),
    "msdk_volume": tuple(sorted(PLUGINS.glob("volume/*.cu"))),
}
ARCHITECTURE = 75
# As plugins/CMakeLists.txt builds a release, but that the PTX is there to be read, and no SASS.
NVCC_FLAGS = ("-std=c++17", "-O3", "-DNDEBUG", "--no-compress", "-Xcompiler=-fPIC,-fvisibility=hidden", "-c")
CPP_FLAGS = ("-std=c++17", "-O1", "-fPIC", "-fvisibility=hidden", "-ffp-contract=off", "-c")
MACHINE_FLAGS = (
    "-std=c++17",
    "-O2",
    "-Xcompiler=-fPIC,-fvisibility=hidden,-ffp-contract=off,-frounding-math",
    "-c",
)
PTX = re.compile(rb"\.version \d+\.\d+\n[^\0]*")

Edit = Callable[[str], str]


class BuildError(Exception):
    """A compiler failed, with what it wrote."""


@dataclass(frozen=True)
class Change:
    """What differs from the project: whole source files in place of others, and an edit of their PTX."""

    replaced: tuple[tuple[Path, Path], ...] = ()
    edit: Edit | None = None
    edited: Path | None = None  # the source whose PTX is edited

    def source(self, path: Path) -> Path:
        return dict(self.replaced).get(path, path)


def nvcc() -> str | None:
    """The CUDA compiler, or None where there is none."""
    return os.environ.get("CUDACXX") or shutil.which("nvcc")


def build(
    folder: Path,
    names: Iterable[str] = tuple(SOURCES),
    change: Change | None = None,
    architecture: int = ARCHITECTURE,
    jobs: int = 2,
) -> Path:
    """Puts the libraries of these names into the folder, beside the machine; returns the folder.

    Raises BuildError, and PtxError for PTX that the machine does not know.
    """
    change = change or Change()
    folder.mkdir(parents=True, exist_ok=True)
    COMPILED.mkdir(parents=True, exist_ok=True)
    with open(COMPILED / "lock", "w") as lock, ThreadPoolExecutor(jobs) as pool:
        fcntl.flock(lock, fcntl.LOCK_EX)  # test processes run side by side
        machine = machine_library(pool)
        for name in names:
            sources = SOURCES[name]
            hosts = list(pool.map(lambda path: host_object(change.source(path), architecture), sources))
            objects = list(hosts)
            for path, host in zip(sources, hosts, strict=True):
                if text := ptx_of(host):
                    edit = change.edit if path == change.edited else None
                    objects += translated_objects(edit(text) if edit else text, pool)
            link(folder / f"lib{name}.so", objects, machine)
    return folder


def machine_library(pool: ThreadPoolExecutor) -> Path:
    sources = sorted(MACHINE.glob("*.cpp"))
    objects = list(pool.map(lambda source: compiled(source, [compiler(), *MACHINE_FLAGS], MACHINE), sources))
    library = COMPILED / f"{digest(*map(str, objects))}" / "libptx_machine.so"
    if not library.exists():
        library.parent.mkdir(exist_ok=True)
        execute([cpp_compiler(), "-shared", *objects, "-ldl", "-o", library])
    return library


def host_object(source: Path, architecture: int) -> Path:
    """The host's object of a source, with the PTX of its kernels in it."""
    target = [f"-arch=compute_{architecture}", f"-code=compute_{architecture}"]
    return compiled(source, [compiler(), *NVCC_FLAGS, *target, f"-I{PLUGINS}"], PLUGINS)


def ptx_of(host: Path) -> str | None:
    """The PTX in an object that nvcc made with --no-compress; None for one without kernels."""
    found = PTX.findall(host.read_bytes())
    if len(found) > 1:
        raise PtxError(f"{host} holds PTX for {len(found)} architectures, expected one")
    text = found[0].decode() if found else ""
    return text if ".entry" in text else None


def translated_objects(text: str, pool: ThreadPoolExecutor) -> list[Path]:
    """The kernels of a module as objects: one for each body, and the module itself."""
    kernels = kernels_of(text)
    bodies = [translated(kernel) for kernel in kernels]
    module = module_of(kernels, bodies, shown_names(kernels))
    texts = dict.fromkeys([module, *(body.cpp for body in bodies)])
    return list(pool.map(lambda cpp: compiled(written(cpp), [cpp_compiler(), *CPP_FLAGS], MACHINE), texts))


def shown_names(kernels: Sequence[Kernel]) -> dict[str, str]:
    """By mangled name: `kan_kernel<float>` for a kernel, `tile` for a variable of one."""
    variables = [variable.name for kernel in kernels for variable in kernel.variables]
    symbols = [*(kernel.symbol for kernel in kernels), *variables]
    names = execute(["c++filt", *symbols]).splitlines()
    namespace = re.compile(r"\(anonymous namespace\)::|msdk::(cuda::|volume::)?|^void ")
    names = [namespace.sub("", name).replace("(int)", "") for name in names]
    count = len(kernels)
    short = [name.partition("(")[0] for name in names[:count]]
    return dict(zip(symbols, [*short, *(name.rpartition("::")[2] for name in names[count:])], strict=True))


def link(library: Path, objects: Sequence[Path], machine: Path) -> None:
    library.unlink(missing_ok=True)  # one that is loaded keeps its file
    beside = [f"-L{machine.parent}", "-lptx_machine", f"-Wl,-rpath,{machine.parent}", "-Wl,--no-undefined"]
    execute([cpp_compiler(), "-shared", *objects, *beside, "-ldl", "-o", library])


def written(text: str) -> Path:
    path = COMPILED / f"{digest(text)}.cpp"
    if not path.exists():
        path.write_text(text)
    return path


def compiled(source: Path, command: Sequence[str], headers: Path) -> Path:
    """The object of a source: the one that is there, if source, headers and command are the same."""
    made = COMPILED / f"{digest(source.read_text(), *command, digest_of_headers(headers))}.o"
    if not made.exists():
        unfinished = made.with_suffix(f".{os.getpid()}.o")
        execute([*command, f"-I{headers}", source, "-o", unfinished])
        unfinished.rename(made)
    return made


@cache
def digest_of_headers(folder: Path) -> str:
    paths = sorted(path for path in folder.rglob("*") if path.suffix in (".h", ".cuh"))
    return digest(*(path.read_text() for path in paths))


def digest(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:20]


@cache
def compiler() -> str:
    found = nvcc()
    if not found:
        raise BuildError("nvcc is not on PATH: install the CUDA toolkit, or set CUDACXX to it")
    return found


def cpp_compiler() -> str:
    return os.environ.get("CXX", "c++")


def execute(command: Sequence[str | Path]) -> str:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    if done.returncode != 0:
        raise BuildError(f"{' '.join(map(str, command))}\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    return done.stdout

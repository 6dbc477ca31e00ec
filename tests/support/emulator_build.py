"""Libraries of CUDA sources, compiled for the emulator (tests/cuda_emulator)."""

import fcntl
import os
import subprocess
from collections.abc import Iterable
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EMULATOR = ROOT / "tests" / "cuda_emulator"
COMPILED = ROOT / "build" / "cuda-emulated"
FLAGS = ["-std=gnu++17", "-O2", "-fPIC", "-fvisibility=hidden", "-ffp-contract=fast", "-Wno-unknown-pragmas"]
# Variables that a kernel forgets to set hold a large number instead of what the stack held: GCC 12, Clang 8.
PATTERN = "-ftrivial-auto-var-init=pattern"


def emulated_library(library: Path, sources: Iterable[Path], include: Path, headers: Iterable[Path]) -> Path:
    """Compiles the sources and the emulator into `library`; what is there and not older is kept.

    Objects of sources in the project are shared between libraries; those of others lie beside the library.
    """
    compiler = os.environ.get("CXX", "c++")
    command = [compiler, *FLAGS, *pattern_flag(compiler), f"-I{EMULATOR}", f"-I{include}", "-x", "c++", "-c"]
    library.parent.mkdir(parents=True, exist_ok=True)
    COMPILED.mkdir(parents=True, exist_ok=True)
    with open(COMPILED / "lock", "w") as lock:  # test processes run side by side
        fcntl.flock(lock, fcntl.LOCK_EX)
        newest_header = max(path.stat().st_mtime for path in (*headers, *EMULATOR.glob("*.h")))
        objects = []
        for source in (*sources, EMULATOR / "emulator.cpp"):
            folder = COMPILED if source.is_relative_to(ROOT) else library.parent
            compiled = folder / f"{source.parent.name}.{source.name}.o"
            if not compiled.exists() or compiled.stat().st_mtime < max(newest_header, source.stat().st_mtime):
                subprocess.run([*command, source, "-o", compiled], check=True)
            objects.append(compiled)
        if not library.exists() or library.stat().st_mtime < max(o.stat().st_mtime for o in objects):
            subprocess.run([compiler, "-shared", *objects, "-o", library], check=True)
    return library


@cache
def pattern_flag(compiler: str) -> list[str]:
    """PATTERN for a compiler that knows it."""
    command = [compiler, PATTERN, "-x", "c++", "-fsyntax-only", os.devnull]
    return [PATTERN] if subprocess.run(command, capture_output=True).returncode == 0 else []

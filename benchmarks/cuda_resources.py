"""How much of an SM do the CUDA kernels need? Registers, spills, shared memory on every architecture.

    python -m benchmarks.cuda_resources      (make cuda-table) needs nvcc, no GPU

Writes the table at the end of docs/explanation/cuda-kernels.md. Fails where a kernel spills registers.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "explanation" / "cuda-kernels.md"
MARK = "<!-- what follows is written by make cuda-table -->\n"
ARCHITECTURES = (75, 80, 86, 87, 89, 90, 100, 110, 120)
SOURCES = sorted([*ROOT.glob("plugins/ops/*/cuda.cu"), *ROOT.glob("plugins/volume/*.cu")])
REGISTERS = 65_536  # 32-bit ones of an SM, on every architecture above
PTXAS = re.compile(
    r"Compiling entry function '(?P<name>\w+)' for 'sm_(?P<architecture>\d+)\w*'"
    r".*?(?P<stores>\d+) bytes spill stores, (?P<loads>\d+) bytes spill loads"
    r".*?Used (?P<registers>\d+) registers(?P<rest>[^\n]*)",
    re.DOTALL,
)


@dataclass(frozen=True)
class Usage:
    """One kernel on one architecture: registers of a thread, bytes spilled, bytes of static shared memory."""

    kernel: str
    architecture: int
    registers: int
    spilled: int
    shared: int

    @property
    def warps(self) -> int:
        """Warps of an SM that its registers are enough for, which come in eights."""
        return REGISTERS // (32 * -(-self.registers // 8) * 8)


def main() -> None:
    nvcc = os.environ.get("CUDACXX") or shutil.which("nvcc") or "/usr/local/cuda/bin/nvcc"
    with ThreadPoolExecutor(int(os.environ.get("JOBS", "1"))) as pool:
        usages = [
            usage for found in pool.map(lambda source: compiled(nvcc, source), SOURCES) for usage in found
        ]
    version = subprocess.run([nvcc, "--version"], capture_output=True, text=True, check=True).stdout
    release = re.search(r"V(\d+\.\d+\.\d+)", version).group(1)
    PAGE.write_text(PAGE.read_text().partition(MARK)[0] + MARK + table(usages, release))
    spilling = [f"{usage.kernel} on sm_{usage.architecture}" for usage in usages if usage.spilled]
    print(f"{len(usages)} kernels compiled by nvcc {release}; table in {PAGE.relative_to(ROOT)}")
    if spilling:
        sys.exit(f"registers spilled by {', '.join(spilling)}: give the kernel fewer values to keep")


def compiled(nvcc: str, source: Path) -> list[Usage]:
    """Every kernel of a source file on every architecture, and PTX for those to come."""
    targets = [f"-gencode=arch=compute_{n},code=sm_{n}" for n in ARCHITECTURES]
    newest = ARCHITECTURES[-1]
    command = [
        nvcc,
        "-std=c++17",
        f"-I{ROOT / 'plugins'}",
        "-O3",
        "-Xptxas=-v",
        "-c",
        str(source),
        "-o",
        os.devnull,
        *targets,
    ]
    command.append(f"-gencode=arch=compute_{newest},code=compute_{newest}")
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr}")
    return list(usages_in(done.stderr))


def usages_in(report: str) -> Iterator[Usage]:
    """Yield the kernels in the report of ptxas -v."""
    found = list(PTXAS.finditer(report))
    names = subprocess.run(
        ["c++filt", *(match["name"] for match in found)], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    for match, name in zip(found, names, strict=True):
        shared = re.search(r"(\d+) bytes smem", match["rest"])
        yield Usage(
            short(name),
            int(match["architecture"]),
            int(match["registers"]),
            int(match["stores"]) + int(match["loads"]),
            int(shared.group(1)) if shared else 0,
        )


def short(name: str) -> str:
    """summaries_kernel<float, 16> for what c++filt says of it."""
    name = re.sub(r"\(anonymous namespace\)::|msdk::cuda::|msdk::|^void ", "", name)
    return re.sub(r"\(.*", "", name).replace("__half", "half").replace("(int)", "")


def table(usages: list[Usage], release: str) -> str:
    """One row a kernel; a cell is registers and the warps of an SM that they allow."""
    kernels = list(dict.fromkeys(usage.kernel for usage in usages))
    by_place = {(usage.kernel, usage.architecture): usage for usage in usages}
    spills = any(usage.spilled for usage in usages)
    lines = [
        f"\nnvcc {release}. Registers of a thread / warps of an SM that those allow; bytes of shared memory",
        f"of a block, without what a launch adds. {'**Bold: spills.**' if spills else 'No kernel spills.'}\n",
        "| kernel | shared | " + " | ".join(f"sm_{n}" for n in ARCHITECTURES) + " |",
        "| --- | --- |" + " --- |" * len(ARCHITECTURES),
    ]
    for kernel in kernels:
        row = [by_place[kernel, n] for n in ARCHITECTURES]
        cells = [
            f"{u.registers} / {u.warps}" if not u.spilled else f"**{u.registers} / {u.warps}**" for u in row
        ]
        lines.append(f"| `{kernel}` | {max(u.shared for u in row)} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()

"""The hot kernels in machine code: instructions an update, what limits them, the time predicted.

    python -m benchmarks.sass [--arch sm_90] [--peer FILE]     prints
    python -m benchmarks.sass --write     (make cuda-table) writes the budget and the page on the kernels

Needs nvcc, nvdisasm and cuobjdump, no GPU. The last two come with the CUDA toolkit, or with the packages
nvidia-cuda-nvdisasm and nvidia-cuda-cuobjdump. benchmarks/sass_budget.json is what the tests compare with.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

from benchmarks.sass_code import INTEGER, KINDS, Kernel
from benchmarks.sass_kernels import KERNELS, OPS, PEER, SIZE
from benchmarks.sass_model import GPUS, Count, counted, milliseconds, undescribed
from benchmarks.sass_tools import ToolMissing, Tools

ROOT = Path(__file__).resolve().parent.parent
BUDGET = ROOT / "benchmarks" / "sass_budget.json"
PAGE = ROOT / "docs" / "explanation" / "cuda-kernels.md"
BEGIN, END = "<!-- written by make cuda-table: machine code -->\n", "<!-- end of machine code -->\n"
COLUMNS = (*KINDS, INTEGER)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--arch", choices=[f"sm_{n}" for n in GPUS], help="this one alone")
    parser.add_argument("--peer", type=Path, help="a library or cubin with mamba-ssm's kernel, counted too")
    parser.add_argument("--write", action="store_true", help="write the page's tables and the budget")
    options = parser.parse_args()
    if options.write and (options.arch or options.peer):
        parser.error("--write writes every architecture and no peer: leave --arch and --peer out")
    try:
        tools = Tools.found()
    except ToolMissing as missing:
        sys.exit(str(missing))
    chosen = [n for n in GPUS if options.arch in (None, f"sm_{n}")]
    counts: list[Count] = []
    for architecture in chosen:
        kernels = kernels_of(tools, architecture)
        counts += [counted(shape, kernels, architecture) for shape in KERNELS]
        for kernel in undescribed(kernels, KERNELS):
            print(
                f"sm_{architecture}: {kernel} is not counted: benchmarks/sass_kernels.py does not describe it"
            )
    peers = tools.kernels_in(options.peer) if options.peer else {}
    counts += [
        counted(PEER, peers[architecture], architecture) for architecture in chosen if architecture in peers
    ]
    text = f"nvcc {tools.release}. {instruction_table(counts)}\n{time_table(counts)}"
    print(text)
    if options.write:
        budget = {"nvcc": tools.release, "kernels": budget_of(counts)}
        BUDGET.write_text(json.dumps(budget, indent=1) + "\n")
        before, _, rest = PAGE.read_text().partition(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.partition(END)[2]}")


def kernels_of(tools: Tools, architecture: int, root: Path = ROOT) -> dict[str, Kernel]:
    """The kernels of the ops under their readable names, as nvcc compiles them for an architecture."""
    found: dict[str, Kernel] = {}
    with tempfile.TemporaryDirectory() as folder:
        for op in OPS:
            cubin = Path(folder) / f"{op}.cubin"
            tools.compile(root / "plugins" / "ops" / op / "cuda.cu", cubin, architecture, root / "plugins")
            for kernels in tools.kernels_in(cubin).values():
                found |= kernels
    return found


def budget_of(counts: list[Count]) -> dict[str, dict[str, dict[str, float]]]:
    """By kernel and architecture, what must not grow."""
    budget: dict[str, dict[str, dict[str, float]]] = {}
    for count in counts:
        budget.setdefault(count.kernel.name, {})[f"sm_{count.architecture}"] = {
            f"instructions {count.shape.unit}": round(count.total, 3),
            "registers": count.kernel.registers,
            "bytes of shared memory": count.kernel.shared,
            "bytes of local memory": count.kernel.local,
        }
    return budget


def over_budget(counts: list[Count], budget: dict, tolerance: float = 0.01) -> list[str]:
    """A sentence for everything that is more than the budget allows, or that it does not have."""
    faults = []
    for kernel, by_architecture in budget_of(counts).items():
        for architecture, found in by_architecture.items():
            allowed = budget["kernels"].get(kernel, {}).get(architecture, {})
            for what, many in found.items():
                if what not in allowed:
                    faults.append(f"{kernel} on {architecture}: the budget has no {what}; make cuda-table")
                elif many > allowed[what] * (1 + tolerance):
                    faults.append(f"{kernel} on {architecture}: at most {allowed[what]} {what}, got {many}")
    return faults


def instruction_table(counts: list[Count]) -> str:
    """Instructions of a lane by kind, in Markdown."""
    lines = [
        f"L = {SIZE.length:,}, D = {SIZE.channels}, N = {SIZE.states}, R = {SIZE.rank}, "
        f"K = {SIZE.directions},",
        f"float16; KanLinear from {SIZE.channels} to {SIZE.channels} channels with {SIZE.bases} bases.\n",
        f"| kernel | sm | instructions for | {' | '.join(COLUMNS)} | all | registers | shared | local |",
        "| --- | --- | --- |" + " --- |" * (len(COLUMNS) + 4),
    ]
    for count in counts:
        kernel, kinds = count.kernel, count.kinds
        cells = [f"`{count.title}`", str(count.architecture), count.shape.unit]
        cells += [f"{kinds[kind]:.2f}" for kind in COLUMNS]
        cells += [f"**{count.total:.2f}**", *map(str, (kernel.registers, kernel.shared, kernel.local))]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def time_table(counts: list[Count]) -> str:
    """The least time at each limit in ms, in Markdown; the largest is what is predicted."""
    lines = [
        "The least time that each limit allows, in ms. The largest is the prediction: a kernel that waits",
        "takes longer.\n",
        "| GPU | kernel | issue | special functions | memory | predicted |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for architecture, gpu in GPUS.items():
        sums: dict[str, float] = {}
        for count in (one for one in counts if one.architecture == architecture):
            times = milliseconds(count, gpu)
            sums[count.shape.op] = sums.get(count.shape.op, 0.0) + max(times.values())
            cells = " | ".join(f"{time:.3f}" for time in times.values())
            lines.append(f"| {gpu.name} | `{count.title}` | {cells} | {max(times.values()):.3f} |")
        lines += [f"| {gpu.name} | all of {op} | | | | **{time:.3f}** |" for op, time in sums.items()]
        if PEER.op in sums:
            ratio = sums[PEER.op] / sums["selective_scan"]
            lines.append(f"| {gpu.name} | {PEER.op} to ours | | | | **{ratio:.2f} times** |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()

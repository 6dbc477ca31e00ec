"""Kernels as C++: a body for each, and a module that tells the machine what they need.

A body knows nothing of its kernel's name, so that kernels with one body share one compiled file.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from tests.ptx_machine.instructions import MAY_FAULT, statement_of
from tests.ptx_machine.operands import Operands, label_name, local_name, register_name
from tests.ptx_machine.ptx import Instruction, Kernel, Label
from tests.ptx_machine.types import TYPES

HEADERS = "\n".join(f'#include "{name}.h"' for name in ("arithmetic", "collectives", "matrix", "memory"))
NOTHING = Instruction(0, "its beginning", "", "", (), ())


@dataclass(frozen=True)
class Body:
    """The C++ function of one kernel, and the instructions that Thread::at counts."""

    function: str
    cpp: str
    instructions: tuple[Instruction, ...]


def translated(kernel: Kernel) -> Body:
    """Raises PtxError for an instruction that is not supported."""
    lines = [*registers_of(kernel), *local_memory_of(kernel)]
    names, instructions = Operands(kernel), [NOTHING]
    for statement in kernel.statements:
        if isinstance(statement, Label):
            lines.append(f"{label_name(statement.name)}:;")
            continue
        code = statement_of(statement, names)
        if statement.mnemonic in MAY_FAULT:
            code = f"thread.at = {len(instructions)}; {code}"
            instructions.append(statement)
        lines.append(f"{{ {code} }}")
    text = "\n  ".join(lines)
    function = f"kernel_{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    cpp = f"{HEADERS}\nusing namespace ptx_machine;\nvoid {function}(Thread& thread) {{\n  {text}\n}}\n"
    return Body(function, cpp, tuple(instructions))


def registers_of(kernel: Kernel) -> list[str]:
    """Declarations: a register that was never written holds ones, which is NaN."""
    return [
        f"{TYPES[kind].cpp} {register_name(name)} = {poison(kind)};"
        for name, kind in kernel.registers.items()
    ]


def poison(kind: str) -> str:
    size = TYPES[kind].bytes
    return "true" if kind == "pred" else f"bits<{TYPES[kind].cpp}>(uint{8 * size}_t(-1))"


def local_memory_of(kernel: Kernel) -> list[str]:
    declared = [variable for variable in kernel.variables if variable.space == "local"]
    lines = []
    for variable in declared:
        name = local_name(variable.name)
        lines += [
            f"alignas({variable.alignment}) uint8_t {name}[{variable.bytes}];",
            f"std::memset({name}, 0xff, sizeof {name});",
            f"thread.local = {name}; thread.local_bytes = sizeof {name};",
        ]
    return lines


def module_of(kernels: list[Kernel], bodies: list[Body], shown: Mapping[str, str]) -> str:
    """The C++ file that adds the kernels to the machine. `shown`: what a person reads for a mangled name."""
    lines = ['#include "thread.h"', "using namespace ptx_machine;"]
    lines += dict.fromkeys(f"void {body.function}(Thread& thread);" for body in bodies)
    lines.append("namespace {")
    for number, (kernel, body) in enumerate(zip(kernels, bodies, strict=True)):
        lines += description_of(number, kernel, body, shown)
    pointers = ", ".join(f"&kernel{number}" for number in range(len(kernels)))
    lines += [
        f"const Kernel* const kernels[] = {{{pointers}}};",
        f"[[maybe_unused]] const bool added = add_module(kernels, {len(kernels)});",
        "}",
    ]
    return "\n".join(lines) + "\n"


def description_of(number: int, kernel: Kernel, body: Body, shown: Mapping[str, str]) -> list[str]:
    shared = [variable for variable in kernel.variables if variable.space == "shared"]
    parameters = [f"{{{parameter.offset}, {parameter.bytes}}}" for parameter in kernel.parameters]
    variables = [
        f"{{{quoted(shown[variable.name])}, {variable.bytes}, {variable.alignment}, "
        f"{'true' if variable.dynamic else 'false'}}}"
        for variable in shared
    ]
    instructions = [f"{{{item.line}, {quoted(item.text)}}}" for item in body.instructions]
    fields = (
        quoted(kernel.symbol),
        quoted(shown[kernel.symbol]),
        body.function,
        f"parameters{number}" if parameters else "nullptr",
        str(len(parameters)),
        str(kernel.parameter_bytes),
        f"shared{number}" if shared else "nullptr",
        str(len(shared)),
        str(shared_granule(kernel)),
        str(kernel.most_threads),
        f"instructions{number}",
    )
    return [
        *array("Parameter", f"parameters{number}", parameters),
        *array("SharedVariable", f"shared{number}", variables),
        *array("Instruction", f"instructions{number}", instructions),
        f"const Kernel kernel{number} = {{{', '.join(fields)}}};",
    ]


def array(kind: str, name: str, values: list[str]) -> list[str]:
    return [f"const {kind} {name}[] = {{{', '.join(values)}}};"] if values else []


def shared_granule(kernel: Kernel) -> int:
    """Bytes of the smallest access to shared memory, so that threads in one granule touch the same bytes."""
    smallest = 4
    for item in kernel.statements:
        if isinstance(item, Instruction) and item.mnemonic in ("ld", "st", "atom"):
            if {"global", "local", "param"} & set(item.modifiers):
                continue
            smallest = min(smallest, *(TYPES[word].bytes for word in item.modifiers if word in TYPES))
    return smallest


def quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'

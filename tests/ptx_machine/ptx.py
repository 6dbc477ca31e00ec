"""Reads PTX: modules, kernels, their variables and statements.

Comments and line information are left out; anything else that is not understood is a PtxError. Registers and
variables of an inner scope are renamed, so that a name means one thing in a kernel.
"""

import bisect
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.ptx_machine.types import TYPES

NO_SPACE = re.compile(r"\S")
LINE_INFORMATION = re.compile(r"\.(?:loc|file)\b[^\n]*")
COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
HEADER = re.compile(r"^\s*\.(version|target|address_size)\b[^\n]*", re.MULTILINE)
LABEL = re.compile(r"([$\w]+)\s*:(?!:)")
STATEMENT = re.compile(r"(?:[^;{}]|\{[^{}]*\})+;")
REGISTERS = re.compile(r"\.reg\s+\.(\w+)\s+(.+)", re.DOTALL)
NUMBERED = re.compile(r"([%$\w]+)<(\d+)>")
VARIABLE = re.compile(
    r"(?P<extern>\.extern\s+)?\.(?P<space>shared|local)\s+(?:\.align\s+(?P<align>\d+)\s+)?\.(?P<type>\w+)\s+"
    r"(?P<name>[$\w]+)(?:\[(?P<count>\d*)\])?"
)
ENTRY = re.compile(
    r"(?:\.(?:visible|weak)\s+)?\.entry\s+([$\w]+)\s*\(([^)]*)\)\s*((?:\.\w+[^{.;]*)*)\{", re.DOTALL
)
PARAMETER = re.compile(
    r"\.param\s+(?:\.align\s+(?P<align>\d+)\s+)?\.(?P<type>\w+)\s+(?:\.ptr\s+[^%$_A-Za-z]*(?:\.\w+\s+)*(?:\d+\s+)?)?"
    r"(?P<name>[$\w]+)(?:\[(?P<count>\d+)\])?"
)
BOUNDS = re.compile(r"\.maxntid\s+(\d+)(?:\s*,\s*(\d+))?(?:\s*,\s*(\d+))?")
OPERAND = re.compile(r"\{[^}]*\}|\[[^\]]*\]|[^,{}\[\]]+")
NAME = re.compile(r"[%$\w]+(?:\.[xyz]\b)?")
MOST_THREADS = 1024


class PtxError(Exception):
    """PTX that the machine cannot execute as the PTX ISA defines it."""


@dataclass(frozen=True)
class Variable:
    """A variable in shared or local memory; `dynamic`: the launch says how many bytes it has."""

    name: str
    space: str
    bytes: int
    alignment: int
    dynamic: bool = False


@dataclass(frozen=True)
class Parameter:
    name: str
    offset: int
    bytes: int


@dataclass(frozen=True)
class Label:
    name: str


@dataclass(frozen=True)
class Instruction:
    """`@!%p1 ld.global.v2.f32 {%f1, %f2}, [%rd1+8]`: guard, mnemonic, modifiers, operands."""

    line: int
    text: str
    guard: str
    mnemonic: str
    modifiers: tuple[str, ...]
    operands: tuple[str, ...]


@dataclass
class Kernel:
    symbol: str
    parameters: list[Parameter]
    parameter_bytes: int
    most_threads: int
    variables: list[Variable] = field(default_factory=list)
    registers: dict[str, str] = field(default_factory=dict)  # by name: the type
    statements: list[Label | Instruction] = field(default_factory=list)


def kernels_of(text: str) -> list[Kernel]:
    """The kernels of a module. Raises PtxError for what is not supported: functions, other variables."""
    code = COMMENT.sub(lambda match: re.sub(r"[^\n]", " ", match.group()), text)
    kernels, outside, end = [], "", 0
    for entry in ENTRY.finditer(code):
        outside += code[end : entry.start()]
        end = closing_brace(code, entry.end())
        kernels.append(read_kernel(code, entry, end - 1))
    outside += code[end:]
    shared = list(module_variables(outside))
    for kernel in kernels:
        names = {
            name for item in kernel.statements if isinstance(item, Instruction) for name in names_in(item)
        }
        kernel.variables += [variable for variable in shared if variable.name in names]
    return kernels


def closing_brace(code: str, start: int) -> int:
    """The place after the brace that closes the one before `start`."""
    depth = 1
    for brace in re.finditer(r"[{}]", code[start:]):
        depth += 1 if brace.group() == "{" else -1
        if depth == 0:
            return start + brace.end()
    raise PtxError("a kernel without its closing brace")


def module_variables(outside: str) -> Iterator[Variable]:
    """Yield the shared variables that are declared outside of kernels, which may hold nothing else."""
    for statement in outside.split(";"):
        words = re.sub(
            r"^\s*\.(version|target|address_size)\b[^\n]*", "", statement, flags=re.MULTILINE
        ).strip()
        if not words:
            continue
        if not (match := VARIABLE.fullmatch(words)) or match["space"] != "shared":
            raise PtxError(f"a declaration that is not supported: {words[:200]}")
        yield variable_of(match)


def variable_of(match: re.Match[str]) -> Variable:
    kind = TYPES[match["type"]]
    count = int(match["count"] or 0) if match["count"] is not None else 1
    alignment = int(match["align"] or kind.bytes)
    dynamic = match["extern"] is not None
    return Variable(match["name"], match["space"], count * kind.bytes, alignment, dynamic)


def read_kernel(code: str, entry: re.Match[str], end: int) -> Kernel:
    parameters, offset = [], 0
    for match in PARAMETER.finditer(entry[2]):
        kind = TYPES[match["type"]]
        size, alignment = kind.bytes * int(match["count"] or 1), int(match["align"] or kind.bytes)
        offset = -(-offset // alignment) * alignment
        parameters.append(Parameter(match["name"], offset, size))
        offset += size
    if len(parameters) != entry[2].count(".param"):
        raise PtxError(f"parameters that are not understood: {entry[2]}")
    most_threads = MOST_THREADS
    if bounds := BOUNDS.search(entry[3]):
        most_threads = int(bounds[1]) * int(bounds[2] or 1) * int(bounds[3] or 1)
    kernel = Kernel(entry[1], parameters, offset, most_threads)
    BodyReader(kernel, code, entry.end(), end).read()
    return kernel


class BodyReader:
    """Reads the statements of a kernel's body, `code[start:end]`, into the kernel."""

    def __init__(self, kernel: Kernel, code: str, start: int, end: int):
        self.kernel, self.code, self.place, self.end = kernel, code, start, end
        self.scopes: list[dict[str, str]] = [{}]  # of each: the kernel's name for a name in the text
        self.numbers = itertools.count(1)
        self.line_ends = [match.start() for match in re.finditer("\n", code)]

    def read(self) -> None:
        while True:
            something = NO_SPACE.search(self.code, self.place, self.end)
            if not something:
                return
            self.place = something.start()
            self.read_one()

    def read_one(self) -> None:
        character = self.code[self.place]
        if character == "{":
            self.scopes.append({})
            self.place += 1
        elif character == "}":
            self.scopes.pop()
            self.place += 1
        elif match := LINE_INFORMATION.match(self.code, self.place, self.end):
            self.place = match.end()
        elif match := LABEL.match(self.code, self.place, self.end):
            self.kernel.statements.append(Label(self.declare(match[1])))
            self.place = match.end()
        elif match := STATEMENT.match(self.code, self.place, self.end):
            self.read_statement(match.group()[:-1].strip())
            self.place = match.end()
        else:
            raise PtxError(f"what is this statement? {self.code[self.place : self.place + 80]!r}")

    def read_statement(self, text: str) -> None:
        if text.startswith(".pragma"):
            return
        if match := REGISTERS.fullmatch(text):
            for name in match[2].split(","):
                self.declare_registers(name.strip(), match[1])
        elif match := VARIABLE.fullmatch(text):
            variable = variable_of(match)
            name = self.declare(variable.name)
            self.kernel.variables.append(
                Variable(name, variable.space, variable.bytes, variable.alignment, variable.dynamic)
            )
        elif text.startswith("."):
            raise PtxError(f"a directive that is not supported: {text}")
        else:
            self.kernel.statements.append(self.instruction_of(text))

    def declare_registers(self, name: str, kind: str) -> None:
        if match := NUMBERED.fullmatch(name):
            names = [f"{match[1]}{number}" for number in range(int(match[2]))]
        else:
            names = [name]
        for each in names:
            self.kernel.registers[self.declare(each)] = kind

    def declare(self, name: str) -> str:
        """The name in the kernel for a name in this scope."""
        outermost = len(self.scopes) == 1
        self.scopes[-1][name] = name if outermost else f"{name}_{next(self.numbers)}"
        return self.scopes[-1][name]

    def resolved(self, text: str) -> str:
        """The text with each name as it is in the kernel."""
        if len(self.scopes) == 1:
            return text

        def rename(match: re.Match[str]) -> str:
            name = match.group()
            return next((scope[name] for scope in reversed(self.scopes) if name in scope), name)

        return NAME.sub(rename, text)

    def instruction_of(self, text: str) -> Instruction:
        line = bisect.bisect_left(self.line_ends, self.place) + 1
        text = " ".join(text.split())
        match = re.fullmatch(r"(?:@(!?[%\w]+)\s+)?([\w.:]+)(?:\s+(.*))?", text)
        if not match:
            raise PtxError(f"line {line}: what is this instruction? {text}")
        guard, opcode, rest = match[1] or "", match[2], match[3] or ""
        mnemonic, *modifiers = opcode.split(".")
        operands = [self.resolved(operand.strip()) for operand in OPERAND.findall(rest) if operand.strip()]
        return Instruction(line, text, self.resolved(guard), mnemonic, tuple(modifiers), tuple(operands))


def names_in(instruction: Instruction) -> set[str]:
    return {name for operand in instruction.operands for name in NAME.findall(operand)}

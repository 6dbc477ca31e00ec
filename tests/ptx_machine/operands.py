"""The operands and modifiers of PTX instructions, as C++."""

import re
from collections.abc import Callable, Iterable

from tests.ptx_machine.ptx import Instruction, Kernel, PtxError
from tests.ptx_machine.types import TYPES, Type

SPECIAL = re.compile(r"%(n?tid|n?ctaid)\.([xyz])")
FLOAT32 = re.compile(r"0[fF]([0-9A-Fa-f]{8})")
FLOAT64 = re.compile(r"0[dD]([0-9A-Fa-f]{16})")
INTEGER = re.compile(r"(-?)(0[xX][0-9A-Fa-f]+|\d+)U?")
ADDRESS = re.compile(r"\[\s*([%$\w]+)\s*(?:\+\s*(-?\d+))?\s*\]")


class Modifiers:
    """The modifiers of an instruction, each of which must be taken: none is ignored in silence."""

    def __init__(self, words: Iterable[str]):
        self._left = list(words)

    def take(self, word: str) -> bool:
        """Whether the modifier was there."""
        if word not in self._left:
            return False
        self._left.remove(word)
        return True

    def ignore(self, *words: str) -> None:
        """Drop hints that change no result."""
        self._left = [word for word in self._left if word not in words]

    def one_of(self, *words: str) -> str | None:
        return next((word for word in words if self.take(word)), None)

    def types(self) -> list[Type]:
        found = [TYPES[word] for word in self._left if word in TYPES]
        self._left = [word for word in self._left if word not in TYPES]
        return found

    def type(self) -> Type:
        """The only type. Raises PtxError for another number of them."""
        found = self.types()
        if len(found) != 1:
            raise PtxError("an instruction of one type was expected")
        return found[0]

    def finish(self) -> None:
        """Raises PtxError where a modifier is left."""
        if self._left:
            raise PtxError(f"modifiers that are not supported: {' '.join(self._left)}")


class Operands:
    """The names of one kernel as C++: registers are local variables, other variables their addresses."""

    def __init__(self, kernel: Kernel):
        self.registers = kernel.registers
        self.addresses = {parameter.name: f"{parameter.offset}u" for parameter in kernel.parameters}
        shared = [variable for variable in kernel.variables if variable.space == "shared"]
        for index, variable in enumerate(shared):
            self.addresses[variable.name] = f"shared_address({index}, {variable.alignment})"
        for variable in kernel.variables:
            if variable.space == "local":
                self.addresses[variable.name] = f"reinterpret_cast<uint64_t>({local_name(variable.name)})"

    def register(self, operand: str) -> str:
        if operand not in self.registers:
            raise PtxError(f"{operand} is no register")
        return register_name(operand)

    def value(self, operand: str, kind: Type) -> str:
        """The operand as a C++ value of the type: a register's bits, a constant, an address."""
        if operand.startswith("!") and kind.cpp == "bool":
            return f"!{self.value(operand[1:], kind)}"
        if operand in self.registers:
            name = register_name(operand)
            return name if TYPES[self.registers[operand]].cpp == kind.cpp else f"bits<{kind.cpp}>({name})"
        if match := SPECIAL.fullmatch(operand):
            return f"bits<{kind.cpp}>(thread.{match[1]}.{match[2]})"
        if operand == "%laneid":
            return f"bits<{kind.cpp}>(thread.lane())"
        if match := FLOAT32.fullmatch(operand):
            return f"bits<{kind.cpp}>(0x{match[1]}u)"
        if match := FLOAT64.fullmatch(operand):
            return f"bits<{kind.cpp}>(uint64_t{{0x{match[1]}u}})"
        if match := INTEGER.fullmatch(operand):
            return constant(match[1] == "-", int(match[2], 0), kind)
        if operand in self.addresses:
            return f"static_cast<{kind.cpp}>({self.addresses[operand]})"
        raise PtxError(f"an operand that is not supported: {operand}")

    def assign(self, operand: str, value: str, kind: Type) -> str:
        """A statement that writes a C++ value of the type to a register."""
        name = self.register(operand)
        return (
            f"{name} = {value};"
            if TYPES[self.registers[operand]].cpp == kind.cpp
            else f"set({name}, {value});"
        )

    def address(self, operand: str) -> str:
        """`[%rd1+8]` as a C++ value of 64 bits."""
        match = ADDRESS.fullmatch(operand)
        if not match:
            raise PtxError(f"an address that is not supported: {operand}")
        base, offset = match[1], int(match[2] or 0)
        kind = TYPES[self.registers.get(base, "u64")]
        value = self.value(base, TYPES[f"u{8 * kind.bytes}"])
        if offset == 0:
            return value
        return f"{value} + {offset}ull" if offset > 0 else f"{value} - {-offset}ull"

    def elements(self, operand: str) -> list[str]:
        """`{%f1, %f2}` as its elements; another operand as the only one."""
        if not operand.startswith("{"):
            return [operand]
        return [element.strip() for element in operand[1:-1].split(",")]


Translation = Callable[[Modifiers, tuple[str, ...], Operands], str]


def constant(negative: bool, magnitude: int, kind: Type) -> str:
    if kind.is_float:
        raise PtxError("an integer constant where a float is expected")
    if kind.cpp == "bool":
        return "true" if magnitude else "false"
    wrapped = (-magnitude if negative else magnitude) % (1 << 8 * kind.bytes)
    return f"static_cast<{kind.cpp}>({wrapped:#x}ull)"


def register_name(name: str) -> str:
    return "v_" + re.sub(r"\W", "_", name.lstrip("%"))


def local_name(name: str) -> str:
    return "local_" + re.sub(r"\W", "_", name)


def label_name(name: str) -> str:
    return "label_" + re.sub(r"\W", "_", name)


def refuse(instruction: Instruction, reason: str) -> PtxError:
    return PtxError(
        f"line {instruction.line}: {instruction.text}: {reason}. To add an instruction, see README.md"
    )

"""Instructions that move data: ld, st, atom, mov, cvta."""

from tests.ptx_machine.operands import Modifiers, Operands, Translation
from tests.ptx_machine.ptx import PtxError
from tests.ptx_machine.types import TYPES, Type

SPACES = {"global": "kGlobal", "shared": "kShared", "local": "kLocal", "param": "kParameter"}
CACHE_HINTS = ("ca", "cg", "cs", "lu", "cv", "wb", "wt", "weak")
ATOMIC_CHANGES = {
    "add": "add<{cpp}>(old, {value})",
    "exch": "{value}",
    "min": "old < {value} ? old : {value}",
    "max": "old > {value} ? old : {value}",
}


def space_of(modifiers: Modifiers) -> str:
    return "Space::" + SPACES.get(modifiers.one_of(*SPACES) or "", "kGeneric")


def vector_of(modifiers: Modifiers) -> int:
    return {"v2": 2, "v4": 4, None: 1}[modifiers.one_of("v2", "v4")]


def load(modifiers: Modifiers, operands: tuple[str, ...], names: Operands) -> str:
    space, count, kind = space_of(modifiers), vector_of(modifiers), modifiers.type()
    use = "Use::kReadOnly" if modifiers.take("nc") else "Use::kRead"
    modifiers.ignore(*CACHE_HINTS)
    modifiers.finish()
    call = f"load<{space}, {use}, {kind.cpp}, {count}>(thread, {names.address(operands[1])})"
    registers = names.elements(operands[0])
    if count == 1:
        return names.assign(registers[0], f"{call}[0]", kind)
    sets = (names.assign(to, f"loaded[{i}]", kind) for i, to in enumerate(registers) if to != "_")
    return f"const auto loaded = {call}; {' '.join(sets)}"


def store(modifiers: Modifiers, operands: tuple[str, ...], names: Operands) -> str:
    space, count, kind = space_of(modifiers), vector_of(modifiers), modifiers.type()
    modifiers.ignore(*CACHE_HINTS)
    modifiers.finish()
    values = ", ".join(names.value(value, kind) for value in names.elements(operands[1]))
    stored = f"std::array<{kind.cpp}, {count}>{{{values}}}"
    return f"store<{space}>(thread, {names.address(operands[0])}, {stored});"


def atomic(modifiers: Modifiers, operands: tuple[str, ...], names: Operands) -> str:
    """`atom.space.change.type d, [a], b`; orders nothing but itself."""
    space, change, kind = space_of(modifiers), modifiers.one_of(*ATOMIC_CHANGES), modifiers.type()
    modifiers.ignore("relaxed", "gpu", "cta")
    modifiers.finish()
    if change is None:
        raise PtxError(f"only the atomic operations {', '.join(ATOMIC_CHANGES)} are supported")
    to, address, operand = operands
    changed = ATOMIC_CHANGES[change].format(cpp=kind.cpp, value="operand")
    function = f"[&]({kind.cpp} old) -> {kind.cpp} {{ static_cast<void>(old); return {changed}; }}"
    call = f"atomic<{space}, {kind.cpp}>(thread, {names.address(address)}, {function})"
    keep = names.assign(to, call, kind) if to != "_" else f"{call};"
    return f"const {kind.cpp} operand = {names.value(operand, kind)}; {keep}"


def move(modifiers: Modifiers, operands: tuple[str, ...], names: Operands) -> str:
    """Between registers, or between one and the parts of it: `mov.b32 {%rs1, %rs2}, %r1`."""
    kind = modifiers.type()
    modifiers.finish()
    to, value = operands
    if to.startswith("{"):
        part = part_of(kind, parts := names.elements(to))
        places = ((name, 8 * part.bytes * i) for i, name in enumerate(parts) if name != "_")
        whole = f"const {kind.cpp} whole = {names.value(value, kind)};"
        return " ".join(
            [whole, *(names.assign(name, f"bits<{part.cpp}>(whole >> {by})", part) for name, by in places)]
        )
    if value.startswith("{"):
        part = part_of(kind, parts := names.elements(value))
        shifted = (
            f"{kind.cpp}({kind.cpp}({names.value(name, part)}) << {8 * part.bytes * i})"
            for i, name in enumerate(parts)
        )
        return names.assign(to, f"static_cast<{kind.cpp}>({' | '.join(shifted)})", kind)
    return names.assign(to, names.value(value, kind), kind)


def part_of(whole: Type, parts: list[str]) -> Type:
    return TYPES[f"b{8 * whole.bytes // len(parts)}"]


def convert_address(modifiers: Modifiers, operands: tuple[str, ...], names: Operands) -> str:
    """Between generic addresses and those of a space: only those of shared memory differ."""
    back, space, kind = modifiers.take("to"), modifiers.one_of("global", "local", "shared"), modifiers.type()
    modifiers.finish()
    value = names.value(operands[1], kind)
    if space == "shared":
        value = f"{value} {'-' if back else '+'} kSharedWindow"
    return names.assign(operands[0], value, kind)


TRANSLATIONS: dict[str, Translation] = {
    "ld": load,
    "st": store,
    "atom": atomic,
    "mov": move,
    "cvta": convert_address,
}
MAY_FAULT = {"ld", "st", "atom"}

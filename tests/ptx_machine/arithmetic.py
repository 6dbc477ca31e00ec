"""Instructions that compute. Each calls the function of machine/arithmetic.h that says what it means."""

from functools import partial

from tests.ptx_machine.operands import Modifiers, Operands, Translation
from tests.ptx_machine.ptx import PtxError
from tests.ptx_machine.types import TYPES, WIDE, Type

ROUNDINGS = {"rn": "kNearest", "rz": "kZero", "rm": "kDown", "rp": "kUp"}
WHOLE = {"rni": "kNearest", "rzi": "kZero", "rmi": "kDown", "rpi": "kUp"}
COMPARISONS = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
UNSIGNED_COMPARISONS = {"lo": "<", "ls": "<=", "hi": ">", "hs": ">="}
UNORDERED = {"equ": "==", "neu": "!=", "ltu": "<", "leu": "<=", "gtu": ">", "geu": ">="}


def flags_of(modifiers: Modifiers) -> str:
    """`.ftz` and `.sat` as the C++ constants."""
    flags = [name for word, name in (("ftz", "kFlush"), ("sat", "kSaturate")) if modifiers.take(word)]
    return " | ".join(flags) or "kPlain"


def rounding_of(modifiers: Modifiers) -> str:
    return f"Rounding::{ROUNDINGS[modifiers.one_of(*ROUNDINGS) or 'rn']}"


def result(operands: tuple[str, ...], names: Operands, kind: Type, value: str) -> str:
    return names.assign(operands[0], value, kind)


def call(function: str, operands: tuple[str, ...], names: Operands, kind: Type, template: str = "") -> str:
    """`set(to, function<template, type>(operands...))`."""
    values = ", ".join(names.value(operand, kind) for operand in operands[1:])
    parameters = f"{template}, {kind.cpp}" if template else kind.cpp
    return result(operands, names, kind, f"{function}<{parameters}>({values})")


def sum_or_difference(name: str, modifiers: Modifiers, operands: tuple[str, ...], names: Operands) -> str:
    kind = modifiers.type()
    if kind.is_float:
        template = f"{flags_of(modifiers)}, {rounding_of(modifiers)}"
        modifiers.finish()
        return call(f"float_{name}", operands, names, supported_float(kind), template)
    modifiers.finish()
    return call(name, operands, names, kind)


def supported_float(kind: Type) -> Type:
    if kind.name not in ("f32", "f64"):
        raise PtxError("only arithmetic in float32 and float64 is supported")
    return kind


def multiply(modifiers: Modifiers, operands: tuple[str, ...], names: Operands) -> str:
    kind = modifiers.type()
    if kind.is_float:
        template = f"{flags_of(modifiers)}, {rounding_of(modifiers)}"
        modifiers.finish()
        return call("float_multiply", operands, names, supported_float(kind), template)
    value, to = product(modifiers, operands, names, kind)
    modifiers.finish()
    return result(operands, names, to, value)


def product(modifiers: Modifiers, operands: tuple[str, ...], names: Operands, kind: Type) -> tuple[str, Type]:
    """The product of operands 1 and 2 and its type: its low or its high half, or all of it."""
    a, b = (names.value(operand, kind) for operand in operands[1:3])
    half = modifiers.one_of("lo", "hi", "wide")
    if half == "wide":
        wide = TYPES[WIDE[kind.name]]
        return f"multiply_wide<{wide.cpp}>({a}, {b})", wide
    return f"multiply_{'high' if half == 'hi' else 'low'}<{kind.cpp}>({a}, {b})", kind


def multiply_add(modifiers: Modifiers, operands: tuple[str, ...], names: Operands) -> str:
    multiplied, to = product(modifiers, operands, names, modifiers.type())
    modifiers.finish()
    return result(operands, names, to, f"add<{to.cpp}>({multiplied}, {names.value(operands[3], to)})")


def fused_multiply_add(modifiers: Modifiers, operands: tuple[str, ...], names: Operands) -> str:
    template = f"{flags_of(modifiers)}, {rounding_of(modifiers)}"
    kind = supported_float(modifiers.type())
    modifiers.finish()
    return call("float_fma", operands, names, kind, template)


def divide(modifiers: Modifiers, operands: tuple[str, ...], names: Operands) -> str:
    kind = modifiers.type()
    a, b = (names.value(operand, kind) for operand in operands[1:])
    if not kind.is_float:
        modifiers.finish()
        return result(operands, names, kind, f"divide<{kind.cpp}>(thread, {a}, {b})")
    flags = flags_of(modifiers)
    if modifiers.take("approx"):
        modifiers.finish()
        value = f"divide_approx(flushed<{flags}>({a}), flushed<{flags}>({b}))"
        return result(operands, names, kind, f"finished<{flags}>({value})")
    if not modifiers.take("rn"):
        raise PtxError("only div.approx and div.rn are supported")
    modifiers.finish()
    return call("float_divide", operands, names, supported_float(kind), flags)


def remainder(modifiers: Modifiers, operands: tuple[str, ...], names: Operands) -> str:
    kind = modifiers.type()
    modifiers.finish()
    a, b = (names.value(operand, kind) for operand in operands[1:])
    return result(operands, names, kind, f"remainder<{kind.cpp}>(thread, {a}, {b})")


def approximation(name: str, modifiers: Modifiers, operands: tuple[str, ...], names: Operands) -> str:
    """`ex2.approx.ftz.f32` and its like."""
    flags, kind = flags_of(modifiers), modifiers.type()
    if not modifiers.take("approx") or kind.name != "f32":
        raise PtxError("only the approximation in float32 is supported")
    modifiers.finish()
    value = f"{name}(flushed<{flags}>({names.value(operands[1], kind)}))"
    return result(operands, names, kind, f"finished<{flags}>({value})")


def square_root(modifiers: Modifiers, operands: tuple[str, ...], names: Operands) -> str:
    if not modifiers.take("rn"):
        raise PtxError("only sqrt.rn is supported")
    flags, kind = flags_of(modifiers), supported_float(modifiers.type())
    modifiers.finish()
    return call("square_root", operands, names, kind, flags)


def extreme(name: str, modifiers: Modifiers, operands: tuple[str, ...], names: Operands) -> str:
    kind = modifiers.type()
    if kind.is_float:
        flags = flags_of(modifiers)
        modifiers.finish()
        return call(f"float_{name}", operands, names, supported_float(kind), flags)
    modifiers.finish()
    a, b = (names.value(operand, kind) for operand in operands[1:])
    return result(operands, names, kind, f"{a} {'<' if name == 'minimum' else '>'} {b} ? {a} : {b}")


def negate(modifiers: Modifiers, operands: tuple[str, ...], names: Operands) -> str:
    flags, kind = flags_of(modifiers), modifiers.type()
    modifiers.finish()
    a = names.value(operands[1], kind)
    if kind.is_float:
        return result(
            operands, names, kind, f"flushed<{flags}>(-{names.value(operands[1], supported_float(kind))})"
        )
    return result(operands, names, kind, f"subtract<{kind.cpp}>(0, {a})")


def absolute(modifiers: Modifiers, operands: tuple[str, ...], names: Operands) -> str:
    flags, kind = flags_of(modifiers), modifiers.type()
    modifiers.finish()
    if not kind.is_float:
        return call("magnitude", operands, names, kind)
    return result(
        operands,
        names,
        kind,
        f"flushed<{flags}>(std::fabs({names.value(operands[1], supported_float(kind))}))",
    )


def copy_sign(modifiers: Modifiers, operands: tuple[str, ...], names: Operands) -> str:
    """The sign of operand 1 on the magnitude of operand 2."""
    kind = supported_float(modifiers.type())
    modifiers.finish()
    sign, size = (names.value(operand, kind) for operand in operands[1:])
    return result(operands, names, kind, f"std::copysign({size}, {sign})")


def logic(operator: str, modifiers: Modifiers, operands: tuple[str, ...], names: Operands) -> str:
    kind = modifiers.type()
    modifiers.finish()
    a, b = (names.value(operand, kind) for operand in operands[1:])
    return result(operands, names, kind, f"static_cast<{kind.cpp}>({a} {operator} {b})")


def logical_not(modifiers: Modifiers, operands: tuple[str, ...], names: Operands) -> str:
    kind = modifiers.type()
    modifiers.finish()
    value = names.value(operands[1], kind)
    return result(
        operands, names, kind, f"!{value}" if kind.name == "pred" else f"static_cast<{kind.cpp}>(~{value})"
    )


def shift(name: str, modifiers: Modifiers, operands: tuple[str, ...], names: Operands) -> str:
    kind = modifiers.type()
    modifiers.finish()
    a, by = names.value(operands[1], kind), names.value(operands[2], TYPES["u32"])
    return result(operands, names, kind, f"{name}<{kind.cpp}>({a}, {by})")


def insert_bits(modifiers: Modifiers, operands: tuple[str, ...], names: Operands) -> str:
    kind = modifiers.type()
    modifiers.finish()
    a, b = (names.value(operand, kind) for operand in operands[1:3])
    position, length = (names.value(operand, TYPES["u32"]) for operand in operands[3:])
    return result(operands, names, kind, f"insert_bits<{kind.cpp}>({a}, {b}, {position}, {length})")


def permute_bytes(modifiers: Modifiers, operands: tuple[str, ...], names: Operands) -> str:
    """`prmt.b32 d, a, b, selector`, without a mode."""
    kind = modifiers.type()
    modifiers.finish()
    values = ", ".join(names.value(operand, kind) for operand in operands[1:])
    return result(operands, names, kind, f"permute_bytes({values})")


def select(modifiers: Modifiers, operands: tuple[str, ...], names: Operands) -> str:
    kind = modifiers.type()
    modifiers.finish()
    a, b = (names.value(operand, kind) for operand in operands[1:3])
    return result(operands, names, kind, f"{names.value(operands[3], TYPES['pred'])} ? {a} : {b}")


def set_predicate(modifiers: Modifiers, operands: tuple[str, ...], names: Operands) -> str:
    """`setp.compare[.bool].type p, a, b[, c]`."""
    combine = modifiers.one_of("and", "or", "xor")
    kind, flags = modifiers.type(), flags_of(modifiers)
    value = compared(modifiers, operands, names, kind, flags)
    modifiers.finish()
    if combine:
        operator = {"and": "&", "or": "|", "xor": "^"}[combine]
        value = f"static_cast<bool>(({value}) {operator} {names.value(operands[3], TYPES['pred'])})"
    return result(operands, names, TYPES["pred"], value)


def compared(modifiers: Modifiers, operands: tuple[str, ...], names: Operands, kind: Type, flags: str) -> str:
    a, b = (names.value(operand, kind) for operand in operands[1:3])
    if not kind.is_float:
        word = modifiers.one_of(*COMPARISONS, *UNSIGNED_COMPARISONS)
        return f"{a} {(COMPARISONS | UNSIGNED_COMPARISONS)[word or '']} {b}"
    supported_float(kind)
    a, b = f"flushed<{flags}>({a})", f"flushed<{flags}>({b})"
    unordered = f"(std::isnan({a}) || std::isnan({b}))"
    if word := modifiers.one_of(*COMPARISONS):
        return f"!{unordered} && {a} {COMPARISONS[word]} {b}"
    word = modifiers.one_of(*UNORDERED)
    return f"{unordered} || {a} {UNORDERED[word or '']} {b}"


def convert(modifiers: Modifiers, operands: tuple[str, ...], names: Operands) -> str:
    """`cvt.to.from`: between integers, between floats, and from one to the other."""
    if modifiers.take("f16x2"):
        return two_halves(modifiers, operands, names)
    to, source = modifiers.types()
    whole = modifiers.one_of(*WHOLE)
    saturate = modifiers.take("sat")
    flush = "kFlush" if modifiers.take("ftz") else "kPlain"
    nearest = modifiers.take("rn")
    modifiers.finish()
    value = names.value(operands[1], source)
    if source.name == "f16":
        value = f"of_half({value})"
    if source.is_float:
        value = f"flushed<{flush}>({value})"
    return result(operands, names, to, converted(value, to, source, whole, saturate, nearest))


def two_halves(modifiers: Modifiers, operands: tuple[str, ...], names: Operands) -> str:
    """`cvt.rn.f16x2.f32 d, a, b`: a in the upper half of d, b in the lower one."""
    if not modifiers.take("rn") or not modifiers.take("f32"):
        raise PtxError("only cvt.rn.f16x2.f32 makes two float16")
    modifiers.finish()
    upper, lower = (f"to_half({names.value(operand, TYPES['f32'])})" for operand in operands[1:])
    return names.assign(operands[0], f"uint32_t({upper}) << 16 | {lower}", TYPES["b32"])


def converted(value: str, to: Type, source: Type, whole: str | None, saturate: bool, nearest: bool) -> str:
    if source.is_float and not to.is_float:
        if whole is None:
            raise PtxError("a float becomes an integer without a rounding mode")
        return f"to_integer<{to.cpp}>(Rounding::{WHOLE[whole]}, {value})"
    if not source.is_float and not to.is_float:
        return f"clamped<{to.cpp}>({value})" if saturate else f"static_cast<{to.cpp}>({value})"
    if whole:
        if to != source:
            raise PtxError("a float is rounded to a whole number of another type")
        return f"to_whole<{to.cpp}>(Rounding::{WHOLE[whole]}, {value})"
    if to.name == "f16":
        if source.name != "f32" or saturate or not nearest:
            raise PtxError("only cvt.rn.f16.f32 makes a float16")
        return f"to_half({value})"
    if not nearest and (not source.is_float or to.bytes < source.bytes):
        raise PtxError("only rounding to nearest is supported")
    value = f"static_cast<{to.cpp}>({value})"
    return f"finished<kSaturate>({value})" if saturate else value


TRANSLATIONS: dict[str, Translation] = {
    "add": partial(sum_or_difference, "add"),
    "sub": partial(sum_or_difference, "subtract"),
    "mul": multiply,
    "mad": multiply_add,
    "fma": fused_multiply_add,
    "div": divide,
    "rem": remainder,
    "ex2": partial(approximation, "ex2_approx"),
    "rcp": partial(approximation, "reciprocal_approx"),
    "sqrt": square_root,
    "min": partial(extreme, "minimum"),
    "max": partial(extreme, "maximum"),
    "neg": negate,
    "abs": absolute,
    "copysign": copy_sign,
    "and": partial(logic, "&"),
    "or": partial(logic, "|"),
    "xor": partial(logic, "^"),
    "not": logical_not,
    "shl": partial(shift, "shift_left"),
    "shr": partial(shift, "shift_right"),
    "bfi": insert_bits,
    "prmt": permute_bytes,
    "selp": select,
    "setp": set_predicate,
    "cvt": convert,
}

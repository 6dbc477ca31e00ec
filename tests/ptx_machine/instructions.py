"""One PTX instruction as a C++ statement, by its mnemonic. What is not here is refused."""

from tests.ptx_machine import arithmetic, memory
from tests.ptx_machine.operands import Modifiers, Operands, Translation, label_name, refuse
from tests.ptx_machine.ptx import Instruction, PtxError
from tests.ptx_machine.types import TYPES


def branch(modifiers: Modifiers, operands: tuple[str, ...], names: Operands) -> str:
    modifiers.ignore("uni")
    modifiers.finish()
    return f"count_branch(thread); goto {label_name(operands[0])};"


def leave(modifiers: Modifiers, operands: tuple[str, ...], names: Operands) -> str:
    modifiers.ignore("uni")
    modifiers.finish()
    return "return;"


def barrier(modifiers: Modifiers, operands: tuple[str, ...], names: Operands) -> str:
    """`bar.sync 0` of the whole block, `bar.warp.sync mask`."""
    of_warp = modifiers.take("warp")
    if not modifiers.take("sync"):
        raise PtxError("only bar.sync and bar.warp.sync are supported")
    modifiers.finish()
    if of_warp:
        return f"warp_barrier(thread, {names.value(operands[0], TYPES['u32'])});"
    if operands != ("0",):
        raise PtxError("only barrier 0 of all threads is supported")
    return "block_barrier(thread);"


def trap(modifiers: Modifiers, operands: tuple[str, ...], names: Operands) -> str:
    modifiers.finish()
    return 'fault(thread, "a trap");'


SHUFFLES = {"up": "kUp", "down": "kDown", "bfly": "kButterfly", "idx": "kIndex"}


def shuffle(modifiers: Modifiers, operands: tuple[str, ...], names: Operands) -> str:
    """`shfl.sync.mode.b32 d|p, a, b, c, mask`."""
    mode = modifiers.one_of(*SHUFFLES)
    if mode is None or not modifiers.take("sync"):
        raise PtxError("only shfl.sync is supported")
    kind = modifiers.type()
    modifiers.finish()
    to, _, predicate = (part.strip() for part in operands[0].partition("|"))
    arguments = ", ".join(names.value(operand, TYPES["u32"]) for operand in operands[1:])
    call = f"shuffle(thread, Shuffle::{SHUFFLES[mode]}, {arguments}, in_range)"
    statements = f"bool in_range = false; {names.assign(to, f'bits<{kind.cpp}>({call})', kind)}"
    return statements + (f" {names.register(predicate)} = in_range;" if predicate else "")


MATRICES = {"m16n8k8": 8, "m16n8k16": 16}


def multiply_matrices(modifiers: Modifiers, operands: tuple[str, ...], names: Operands) -> str:
    """`mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {d}, {a}, {b}, {c}`."""
    shape = modifiers.one_of(*MATRICES)
    words = [modifiers.take(word) for word in ("sync", "aligned", "row", "col")]
    types = [kind.name for kind in modifiers.types()]
    if shape is None or not all(words) or types != ["f32", "f16", "f16", "f32"]:
        raise PtxError("only mma.sync of m16n8k8 and m16n8k16, float16 with float32 sums, is supported")
    modifiers.finish()
    to, a, b, c = (names.elements(operand) for operand in operands)
    size = MATRICES[shape]
    if [len(to), len(a), len(b), len(c)] != [4, size // 4, size // 8, 4]:
        raise PtxError("registers of mma.sync that do not fit its shape")
    word, number = TYPES["b32"], TYPES["f32"]
    a_words, b_words = (", ".join(names.value(each, word) for each in part) for part in (a, b))
    lines = [
        f"const uint32_t a[] = {{{a_words}}}, b[] = {{{b_words}}};",
        f"float sums[] = {{{', '.join(names.value(each, number) for each in c)}}};",
        f"multiply_matrices(thread, {size}, a, b, sums);",
        *(names.assign(each, f"sums[{index}]", number) for index, each in enumerate(to)),
    ]
    return " ".join(lines)


def load_matrices(modifiers: Modifiers, operands: tuple[str, ...], names: Operands) -> str:
    """`ldmatrix.sync.aligned.m8n8.x4.shared.b16 {d}, [a]`."""
    words = [modifiers.take(word) for word in ("sync", "aligned", "m8n8", "x4", "shared", "b16")]
    modifiers.finish()
    to = names.elements(operands[0])
    if not all(words) or len(to) != 4:
        raise PtxError("only ldmatrix of four matrices from shared memory is supported")
    sets = " ".join(names.assign(each, f"words[{index}]", TYPES["b32"]) for index, each in enumerate(to))
    return f"uint32_t words[4]; load_matrices(thread, {names.address(operands[1])}, words); {sets}"


TRANSLATIONS: dict[str, Translation] = {
    "bra": branch,
    "ret": leave,
    "exit": leave,
    "trap": trap,
    "bar": barrier,
    "shfl": shuffle,
    "mma": multiply_matrices,
    "ldmatrix": load_matrices,
    **memory.TRANSLATIONS,
    **arithmetic.TRANSLATIONS,
}
MAY_FAULT = {"trap", "bar", "shfl", "mma", "ldmatrix", "div", "rem", *memory.MAY_FAULT}


def statement_of(instruction: Instruction, names: Operands) -> str:
    """Its C++ statement. Raises PtxError for what is not supported."""
    if instruction.mnemonic not in TRANSLATIONS:
        raise refuse(instruction, "an instruction that is not supported")
    modifiers = Modifiers(instruction.modifiers)
    try:
        statement = TRANSLATIONS[instruction.mnemonic](modifiers, instruction.operands, names)
        if not instruction.guard:
            return statement
        return f"if ({names.value(instruction.guard, TYPES['pred'])}) {{ {statement} }}"
    except (PtxError, IndexError, KeyError, ValueError) as error:
        raise refuse(instruction, str(error)) from error

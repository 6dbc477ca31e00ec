"""Each instruction by itself: what the machine computes against NumPy, and what it refuses."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

from tests.ptx_machine.hand_written import HandWritten
from tests.ptx_machine.ptx import PtxError, kernels_of
from tests.ptx_machine.translate import translated

THREADS = 64
DTYPES = {
    "u8": np.uint8, "s8": np.int8, "u16": np.uint16, "s16": np.int16, "u32": np.uint32, "s32": np.int32,
    "u64": np.uint64, "s64": np.int64, "f16": np.float16, "f32": np.float32, "f64": np.float64,
}  # fmt: skip
# The register that holds it: floats by their type, float16 and bytes in untyped ones.
REGISTERS = {"u8": "b16", "s8": "b16", "f16": "b16"}


@dataclass(frozen=True)
class Case:
    """Instructions from %a, %b and %c of type `of` to %d of type `to`; `expected` of the same arrays."""

    text: str
    of: str
    to: str
    expected: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
    tolerance: float = 0.0  # relative


def towards(exact: np.ndarray, direction: float) -> np.ndarray:
    """Extended precision rounded to float32: towards an infinity, or towards zero where direction is 0."""
    rounded = exact.astype(np.float32)
    beyond = abs(rounded) > abs(exact) if direction == 0 else np.sign(rounded - exact) == -np.sign(direction)
    back = np.float32(0) if direction == 0 else np.float32(direction)
    return np.where(beyond, np.nextafter(rounded, back), rounded)


def wide(array: np.ndarray) -> np.ndarray:
    return array.astype(np.longdouble)


def fused(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    return wide(a) * wide(b) + wide(c)


def quotient(a: int, b: int, c: int) -> int:
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


def inserted(a: int, b: int, c: int) -> int:
    """The 13 low bits of a in b, from bit 20 on."""
    return b & ~(0x1FFF << 20) | (a & 0x1FFF) << 20


def wrapped(values: list[int], kind: np.dtype) -> np.ndarray:
    bits = 8 * np.dtype(kind).itemsize
    unsigned = np.array([value % (1 << bits) for value in values], np.dtype(kind).str.replace("i", "u"))
    return unsigned.view(kind)


def integers(function: Callable[..., int], to: str) -> Callable[..., np.ndarray]:
    """The function of Python's integers, which have no end, wrapped to the type."""
    return lambda *arrays: wrapped(
        [function(*map(int, row)) for row in zip(*arrays, strict=True)], DTYPES[to]
    )


def predicate(text: str, choose: str = "selp.u32 %d, 1, 0, %p;") -> str:
    return f".reg .pred %p, %q; {text} {choose}"


def flushed(x: np.ndarray) -> np.ndarray:
    return np.where(abs(x) < np.float32(2**-126), np.copysign(np.float32(0), x), x)


def half_bits(x: np.ndarray) -> np.ndarray:
    """Of float32 rounded to float16; all NaN are one."""
    return np.where(np.isnan(x), np.uint16(0x7FFF), x.astype(np.float16).view(np.uint16))


INTEGERS = [
    Case("add.s32 %d, %a, %b;", "s32", "s32", integers(lambda a, b, c: a + b, "s32")),
    Case("sub.s64 %d, %a, %b;", "s64", "s64", integers(lambda a, b, c: a - b, "s64")),
    Case("mul.lo.s32 %d, %a, %b;", "s32", "s32", integers(lambda a, b, c: a * b, "s32")),
    Case("mul.hi.s32 %d, %a, %b;", "s32", "s32", integers(lambda a, b, c: a * b >> 32, "s32")),
    Case("mul.hi.u64 %d, %a, %b;", "u64", "u64", integers(lambda a, b, c: a * b >> 64, "u64")),
    Case("mul.wide.s32 %d, %a, %b;", "s32", "s64", integers(lambda a, b, c: a * b, "s64")),
    Case("mul.wide.u16 %d, %a, %b;", "u16", "u32", integers(lambda a, b, c: a * b, "u32")),
    Case("mad.lo.s32 %d, %a, %b, %c;", "s32", "s32", integers(lambda a, b, c: a * b + c, "s32")),
    Case("div.s32 %d, %a, %b;", "s32", "s32", integers(quotient, "s32")),
    Case("rem.s64 %d, %a, 7;", "s64", "s64", lambda a, b, c: np.fmod(a, 7)),
    Case("div.u32 %d, %a, 10;", "u32", "u32", lambda a, b, c: a // 10),
    Case("min.s32 %d, %a, %b;", "s32", "s32", lambda a, b, c: np.minimum(a, b)),
    Case("max.u32 %d, %a, %b;", "u32", "u32", lambda a, b, c: np.maximum(a, b)),
    Case("neg.s32 %d, %a;", "s32", "s32", integers(lambda a, b, c: -a, "s32")),
    Case("abs.s32 %d, %a;", "s32", "s32", integers(lambda a, b, c: abs(a), "s32")),
    Case("shl.b32 %d, %a, %b;", "u32", "u32", integers(lambda a, b, c: a << min(b, 32), "u32")),
    Case("shr.s32 %d, %a, 40;", "s32", "s32", lambda a, b, c: np.where(a < 0, -1, 0).astype(np.int32)),
    Case("shr.u32 %d, %a, 5;", "u32", "u32", lambda a, b, c: a >> 5),
    Case("shr.s32 %d, %a, 5;", "s32", "s32", lambda a, b, c: a >> 5),
    Case("xor.b32 %d, %a, %b;", "u32", "u32", lambda a, b, c: a ^ b),
    Case("not.b64 %d, %a;", "u64", "u64", lambda a, b, c: ~a),
    Case("bfi.b64 %d, %a, %b, 20, 13;", "u64", "u64", integers(inserted, "u64")),
    Case("prmt.b32 %d, %a, %b, 0x1054;", "u32", "u32", integers(lambda a, b, c: b & 0xFFFF | a << 16, "u32")),
    Case("prmt.b32 %d, %a, %b, 0xBBB2;", "u32", "u32",
         integers(lambda a, b, c: a >> 16 & 0xFF | (0xFFFFFF00 if a >> 31 else 0), "u32")),
    Case("mov.b32 %d, {%a, %b};", "u16", "u32", integers(lambda a, b, c: a | b << 16, "u32")),
    Case(".reg .b16 %x; mov.b32 {_, %x}, %a; cvt.u32.u16 %d, %x;", "u32", "u32", lambda a, b, c: a >> 16),
    Case(predicate("setp.lt.s32 %p, %a, %b;"), "s32", "u32", lambda a, b, c: a < b),
    Case(predicate("setp.hi.u32 %p, %a, %b;"), "u32", "u32", lambda a, b, c: a > b),
    Case(predicate("setp.lt.s32 %q, %c, 0; setp.ge.and.s32 %p, %a, %b, !%q;"), "s32", "u32",
         lambda a, b, c: (a >= b) & (c >= 0)),
    Case(predicate("setp.lt.s32 %p, %a, 0; mov.u32 %d, 5;", "@!%p mov.u32 %d, 6;"), "s32", "u32",
         lambda a, b, c: np.where(a < 0, 5, 6)),
    Case("selp.b32 %d, %a, %b, 1;", "u32", "u32", lambda a, b, c: a),
]  # fmt: skip

FLOATS = [
    Case("add.f32 %d, %a, %b;", "f32", "f32", lambda a, b, c: a + b),
    Case("add.rz.f32 %d, %a, %b;", "f32", "f32", lambda a, b, c: towards(wide(a) + wide(b), 0)),
    Case("sub.rp.f32 %d, %a, %b;", "f32", "f32", lambda a, b, c: towards(wide(a) - wide(b), np.inf)),
    Case("fma.rn.f32 %d, %a, %b, %c;", "f32", "f32", lambda a, b, c: fused(a, b, c).astype(np.float32)),
    Case("fma.rm.f32 %d, %a, %b, %c;", "f32", "f32", lambda a, b, c: towards(fused(a, b, c), -np.inf)),
    Case("mul.f32 %d, %a, 0f40490FDB;", "f32", "f32", lambda a, b, c: a * np.float32(np.pi)),
    Case("mul.ftz.f32 %d, %a, 0f00800000;", "f32", "f32", lambda a, b, c: flushed(a * np.float32(2**-126))),
    Case("div.rn.f64 %d, %a, %b;", "f64", "f64", lambda a, b, c: a / b),
    Case("sqrt.rn.f64 %d, %a;", "f64", "f64", lambda a, b, c: np.sqrt(a)),
    Case("min.f32 %d, %a, %b;", "f32", "f32", lambda a, b, c: np.fmin(a, b)),
    Case("max.f32 %d, 0f7FC00000, %b;", "f32", "f32", lambda a, b, c: b),
    Case("neg.f32 %d, %a;", "f32", "f32", lambda a, b, c: -a),
    Case("abs.f32 %d, %a;", "f32", "f32", lambda a, b, c: abs(a)),
    Case("copysign.f32 %d, %a, %b;", "f32", "f32", lambda a, b, c: np.copysign(b, a)),
    Case("ex2.approx.ftz.f32 %d, %a;", "f32", "f32", lambda a, b, c: np.exp2(a.astype(np.float64)), 2**-21.9),
    Case("div.approx.f32 %d, %a, %b;", "f32", "f32", lambda a, b, c: wide(a) / wide(b), 2**-22),
    Case("rcp.approx.ftz.f32 %d, %a;", "f32", "f32", lambda a, b, c: 1 / wide(a), 2**-23),
    Case(predicate("setp.gtu.f32 %p, %a, %b;"), "f32", "u32", lambda a, b, c: ~(a <= b)),
    Case(predicate("setp.ne.f32 %p, 0f7FC00000, %b;"), "f32", "u32", lambda a, b, c: a != a),
    Case(predicate("setp.neu.f32 %p, %a, %b;"), "f32", "u32", lambda a, b, c: a != b),
]  # fmt: skip

CONVERSIONS = [
    Case("cvt.rzi.s32.f32 %d, %a;", "f32", "s32", lambda a, b, c: np.trunc(a).astype(np.int32)),
    Case("cvt.rni.s64.f64 %d, %a;", "f64", "s64", lambda a, b, c: np.rint(a).astype(np.int64)),
    Case("cvt.rmi.u32.f32 %d, %a;", "f32", "u32", lambda a, b, c: np.floor(a).clip(0).astype(np.uint32)),
    Case("cvt.rzi.s32.f32 %d, 0f7FC00000;", "f32", "s32", lambda a, b, c: 0 * a),
    Case("cvt.rn.f32.s32 %d, %a;", "s32", "f32", lambda a, b, c: a.astype(np.float32)),
    Case("cvt.rn.f64.s64 %d, %a;", "s64", "f64", lambda a, b, c: a.astype(np.float64)),
    Case("cvt.rn.f32.f64 %d, %a;", "f64", "f32", lambda a, b, c: a.astype(np.float32)),
    Case("cvt.f64.f32 %d, %a;", "f32", "f64", lambda a, b, c: a.astype(np.float64)),
    Case("cvt.rpi.f32.f32 %d, %a;", "f32", "f32", lambda a, b, c: np.ceil(a)),
    Case("cvt.sat.f32.f32 %d, %a;", "f32", "f32", lambda a, b, c: np.clip(a, 0, 1)),
    Case("cvt.s64.s32 %d, %a;", "s32", "s64", lambda a, b, c: a.astype(np.int64)),
    Case("cvt.u32.u64 %d, %a;", "u64", "u32", lambda a, b, c: a.astype(np.uint32)),
    Case("cvt.s32.s8 %d, %a;", "s8", "s32", lambda a, b, c: a.astype(np.int32)),
    Case("cvt.sat.u8.s32 %d, %a;", "s32", "u8", lambda a, b, c: np.clip(a, 0, 255).astype(np.uint8)),
    Case("cvt.f32.f16 %d, %a;", "f16", "f32", lambda a, b, c: a.astype(np.float32)),
    Case("cvt.rn.f16.f32 %d, %a;", "f32", "f16", lambda a, b, c: a.astype(np.float16)),
    Case(
        "cvt.rn.f16x2.f32 %d, %a, %b;",
        "f32",
        "u32",
        lambda a, b, c: half_bits(a).astype(np.uint32) << 16 | half_bits(b),
    ),
    Case("cvt.rn.f16.f32 %d, 0f477FF000;", "f32", "f16", lambda a, b, c: np.full(len(a), np.inf)),  # 65520
]  # fmt: skip
CASES = [*INTEGERS, *FLOATS, *CONVERSIONS]


def inputs_of(kind: str, rng: np.random.Generator) -> np.ndarray:
    """(3, THREADS): small and large numbers of the type, none of them 0; float16 of every exponent."""
    dtype = np.dtype(DTYPES[kind])
    if kind == "f16":
        return (
            np.array([x for x in range(0, 1 << 16, 320) if x >> 10 & 31 < 31][: 3 * THREADS], np.uint16)
            .view(dtype)
            .reshape(3, -1)
        )
    if dtype.kind == "f":
        return (rng.standard_normal((3, THREADS)) * 2.0 ** rng.integers(-4, 12, (3, THREADS))).astype(dtype)
    limits = np.iinfo(dtype)
    values = rng.integers(limits.min, limits.max, (3, THREADS), dtype, endpoint=True)
    values[:, ::2] >>= dtype.type(4 * dtype.itemsize)
    values[values == 0] = 3
    return values


def module() -> str:
    """One kernel with every case in a scope of its own."""
    body = []
    for number, case in enumerate(CASES):
        of, to = REGISTERS.get(case.of, case.of), REGISTERS.get(case.to, case.to)
        load, store = (name.replace("f16", "b16") for name in (case.of, case.to))
        body.append(f"{{ .reg .{of} %a, %b, %c; .reg .{to} %d;")
        for i, name in enumerate("abc"):
            body.append(f"ld.global.{load} %{name}, [%rd4+{8 * THREADS * (3 * number + i)}];")
        body.append(f"{case.text} st.global.{store} [%rd5+{8 * THREADS * number}], %d; }}")
    return (
        ".entry cases(.param .u64 inputs, .param .u64 outputs) { .reg .b64 %rd<6>; .reg .b32 %r1;"
        "ld.param.u64 %rd1, [inputs]; ld.param.u64 %rd2, [outputs]; mov.u32 %r1, %tid.x;"
        "mul.wide.u32 %rd3, %r1, 8; add.s64 %rd4, %rd1, %rd3; add.s64 %rd5, %rd2, %rd3;"
        + "\n".join(body)
        + "}"
    )


@pytest.fixture(scope="module")
def computed(device, tmp_path_factory):
    """(cases, THREADS) words of 64 bits in, and out."""
    rng = np.random.default_rng(71)
    words = np.zeros((len(CASES), 3, THREADS), np.uint64)
    for case, given in zip(CASES, words, strict=True):
        values = inputs_of(case.of, rng)
        given.view(np.uint8).reshape(3, THREADS, 8)[..., : values.itemsize] = values[..., None].view(np.uint8)
    kernel = HandWritten(module(), tmp_path_factory.mktemp("instructions"))
    outputs = device.empty((len(CASES), THREADS), np.uint64)
    assert kernel.launch(THREADS, device.put(words), outputs) == ""
    return words, outputs.get()


def of_type(words: np.ndarray, kind: str) -> np.ndarray:
    dtype = np.dtype(DTYPES[kind])
    return np.ascontiguousarray(words[..., None].view(np.uint8)[..., : dtype.itemsize]).view(dtype)[..., 0]


@pytest.mark.parametrize("number", range(len(CASES)), ids=lambda number: CASES[number].text.rstrip(";"))
def test_an_instruction_computes_what_numpy_does(computed, number):
    case = CASES[number]
    words, results = computed
    actual = of_type(results[number], case.to)
    with np.errstate(all="ignore"):
        expected = case.expected(*of_type(words[number], case.of))
    if case.tolerance:
        normal = (abs(expected) >= 2.0**-126) & (abs(expected) < 2.0**127)
        error = abs(actual[normal].astype(np.longdouble) / expected[normal] - 1)
        assert 0 < error.max() <= case.tolerance  # no better than it must be
        with np.errstate(over="ignore"):
            beyond = flushed(expected[~normal].astype(np.float32))
        np.testing.assert_array_equal(actual[~normal], beyond)
    else:
        np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("popc.b32 %r1, %r2;", "an instruction that is not supported"),
        ("ld.acquire.gpu.global.u32 %r1, [%rd1];", "modifiers that are not supported: acquire gpu"),
        ("bar.sync 1;", "only barrier 0"),
        ("add.f16 %h1, %h2, %h3;", "only arithmetic in float32 and float64"),
        ("mov.u32 %r1, %clock;", "an operand that is not supported: %clock"),
        ("div.full.f32 %f1, %f2, %f2;", "only div.approx and div.rn"),
        ("call foo;", "an instruction that is not supported"),
        (".local .u32 x[4]; .const .u32 y;", "a directive that is not supported: .const"),
    ],
)
def test_what_the_machine_does_not_know_is_refused(text, reason):
    registers = ".reg .b32 %r<3>; .reg .b64 %rd<2>; .reg .f32 %f<3>; .reg .b16 %h<4>;"
    with pytest.raises(PtxError, match=reason):
        translated(kernels_of(f".entry refused() {{ {registers} {text} }}")[0])


def test_a_refusal_names_line_and_instruction():
    ptx = ".entry refused()\n{\n  .reg .b32 %r<3>;\n  popc.b32 %r1, %r2; // comment\n}"
    with pytest.raises(PtxError, match=r"line 4: popc.b32 %r1, %r2: .* README.md"):
        translated(kernels_of(ptx)[0])


def test_what_stands_outside_of_kernels_is_refused():
    with pytest.raises(PtxError, match=r"a declaration that is not supported: \.global"):
        kernels_of(".global .u32 counter;\n.entry k() { ret; }")

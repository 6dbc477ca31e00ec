"""Instructions are counted along the ways that a kernel takes: benchmarks/sass_code.py, sass_model.py."""

from dataclasses import replace

import pytest

from benchmarks.sass_code import EX2, by_kind, kernels_in
from benchmarks.sass_kernels import Shape
from benchmarks.sass_model import Gpu, counted, milliseconds, undescribed

# A loop of 5 instructions around one of 7, 4 before and behind, and what is not counted: the 3 of a slow
# way, and what fills up the section.
LISTING = """
\t.target\tsm_87
\t.section\t.text.walk,"ax",@progbits
walk:
.text.walk:
        /*0000*/                   LDC R1, c[0x0][0x28] ;
        /*0010*/                   MOV R2, RZ ;
.L_x_0:
        /*0020*/                   LDG.E.128 R4, [R2] ;
        /*0030*/                   STS.128 [R3], R4 ;
.L_x_1:
        /*0040*/                   LDS.128 R8, [R3] ;
        /*0050*/              @!P0 BRA `(.L_x_2) ;
        /*0060*/                   IMAD R9, R9, R9, RZ ;
        /*0070*/                   MUFU.LG2 R9, R9 ;
        /*0080*/                   IADD3 R9, R9, 0x1, RZ ;
.L_x_2:
        /*0090*/                   MUFU.EX2 R10, R8 ;
        /*00a0*/                   MUFU.EX2 R11, R9 ;
        /*00b0*/                   FFMA R12, R10, R12, R11 ;
        /*00c0*/               @P2 FFMA.FTZ R12, R10, R12, R11 ;
        /*00d0*/               @P1 BRA `(.L_x_1) ;
        /*00e0*/                   IADD3 R2, R2, 0x10, RZ ;
        /*00f0*/               @P3 CALL.REL.NOINC `(.L_x_3) ;
        /*0100*/                   BRA `(.L_x_0) ;
.L_x_3:
        /*0110*/                   STG.E.64 [R2], R12 ;
        /*0120*/                   EXIT ;
.L_x_4:
        /*0130*/                   BRA `(.L_x_4);
        /*0140*/                   NOP ;
"""
SLOW_WAY = LISTING[LISTING.index("        /*0060*/") : LISTING.index(".L_x_2:\n")]
SIDE_LOOP = """.L_x_5:
        /*0060*/                   FADD R9, R9, R9 ;
        /*0070*/                   FFMA R9, R9, R9, R9 ;
        /*0080*/              @!P5 BRA `(.L_x_5) ;
"""
# Two exponentials a turn of the inner loop, four turns of it for one of the outer, two of those.
SHAPE = Shape("walk", "scan", "an update", EX2, 1, spans=(8, 16), units=64_000_000, bytes=1_000_000)


def kernels(listing):
    return {kernel.name: kernel for kernel in kernels_in(listing)}


def test_each_loop_is_counted_along_its_way():
    kernel = kernels(LISTING)["walk"]
    outer, inner = kernel.loops
    kinds = by_kind(kernel.turn(inner, EX2).names)
    assert {kind: many for kind, many in kinds.items() if many} == {
        "fma": 2,
        "special": 2,
        "shared": 1,
        "control": 2,
    }
    assert kernel.turn(outer, "LDG", [inner]).total == 5
    assert kernel.turn(kernel.whole, EX2, [outer]).names == {"LDC": 1, "MOV": 1, "STG.E.64": 1, "EXIT": 1}


def test_what_is_outside_the_hot_loop_is_shared_among_the_units_it_serves():
    count = counted(SHAPE, kernels(LISTING), 87)
    assert count.total == 7 / 2 + 5 / 8 + 4 / 16
    assert count.kinds["special"] == 1
    assert count.kinds["global"] == 1 / 8 + 1 / 16


def test_a_loop_that_is_unrolled_into_the_hot_one_needs_no_span():
    unrolled = replace(SHAPE, spans=(2, 8, 16))
    assert counted(unrolled, kernels(LISTING), 87).total == counted(SHAPE, kernels(LISTING), 87).total


def test_another_loop_inside_takes_the_turns_it_is_said_to_take():
    """Three instructions for every FADD, of which two units take one."""
    shape = replace(SHAPE, inner=(("FADD", 0.5),))
    found = kernels(LISTING.replace(SLOW_WAY, SIDE_LOOP))
    assert counted(shape, found, 87).total == 7 / 2 + 5 / 8 + 4 / 16 + 3 * 0.5


def test_the_times_are_those_of_the_formulas():
    gpu = Gpu("small", sms=10, clock=1e9, bandwidth=1e9)
    count = counted(SHAPE, kernels(LISTING), 87)
    assert milliseconds(count, gpu) == {
        "issue": pytest.approx(1e3 * 64e6 / 32 * 4.375 / (4 * 10 * 1e9)),
        "special functions": pytest.approx(1e3 * 64e6 / (16 * 10 * 1e9)),
        "memory": pytest.approx(1.0),
    }
    few = replace(count, shape=replace(SHAPE, most_blocks=5))
    assert milliseconds(few, gpu)["issue"] == pytest.approx(2 * milliseconds(count, gpu)["issue"])


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"name": "run"}, "expected run on sm_87, got walk"),
        ({"marks": "HMMA"}, "expected a loop with HMMA, got none"),
        ({"spans": (16,)}, "expected 0 loops around the hot one, got 1"),
        ({"inner": (("FADD", 1.0),)}, "expected a loop with FADD beside the hot one, got none"),
    ],
)
def test_a_kernel_that_is_not_as_described_is_refused(change, sentence):
    with pytest.raises(RuntimeError, match=f"{sentence}.*: describe the kernel as it is now"):
        counted(replace(SHAPE, **change), kernels(LISTING), 87)


def test_a_kernel_with_exponentials_that_nobody_describes_is_named():
    found = {"walk<Half>": kernels(LISTING)["walk"]}
    assert undescribed(found, (replace(SHAPE, name="walk<float>"),)) == []
    assert undescribed(found, (replace(SHAPE, name="other<float>"),)) == ["walk<Half>"]

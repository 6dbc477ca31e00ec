"""Small matrices of tensor cores: loaded; multiplied, with whole numbers, so that every sum is exact."""

import re

import numpy as np
import pytest

from tests.gpu.device import Device
from tests.ptx_machine.hand_written import HandWritten
from tests.ptx_machine.ptx import PtxError

KERNEL = """
.entry product(.param .u64 a, .param .u64 b, .param .u64 c, .param .u64 d) {{
  .reg .b32 %r<9>; .reg .b32 %a<4>; .reg .b32 %b<2>; .reg .f32 %f<4>; .reg .b64 %rd<9>;
  mov.u32 %r1, %tid.x;
  ld.param.u64 %rd1, [a]; mul.wide.u32 %rd2, %r1, {a_bytes}; add.s64 %rd1, %rd1, %rd2;
  ld.param.u64 %rd3, [b]; mul.wide.u32 %rd4, %r1, {b_bytes}; add.s64 %rd3, %rd3, %rd4;
  ld.param.u64 %rd5, [c]; mul.wide.u32 %rd6, %r1, 16; add.s64 %rd5, %rd5, %rd6;
  ld.param.u64 %rd7, [d]; add.s64 %rd7, %rd7, %rd6;
  {loads}
  ld.global.v4.f32 {{%f0, %f1, %f2, %f3}}, [%rd5];
  mma.sync.aligned.{shape}.row.col.f32.f16.f16.f32 {{%f0, %f1, %f2, %f3}},
    {{{a}}}, {{{b}}}, {{%f0, %f1, %f2, %f3}};
  st.global.v4.f32 [%rd7], {{%f0, %f1, %f2, %f3}};
}}
"""


def text_of(K: int, shape: str | None = None) -> str:
    a, b = ([f"%{name}{index}" for index in range(count)] for name, count in (("a", K // 4), ("b", K // 8)))
    loads = [f"ld.global.b32 {name}, [%rd1+{4 * index}];" for index, name in enumerate(a)]
    loads += [f"ld.global.b32 {name}, [%rd3+{4 * index}];" for index, name in enumerate(b)]
    return KERNEL.format(
        a_bytes=K, b_bytes=K // 2, loads=" ".join(loads), a=", ".join(a), b=", ".join(b),
        shape=shape or f"m16n8k{K}",
    )  # fmt: skip


def element_of_a(lane: int, index: int) -> tuple[int, int]:
    """Row and column of a's element, as the PTX ISA has it for .f16."""
    row = lane // 4 + (8 if index // 2 % 2 else 0)
    return row, lane % 4 * 2 + index % 2 + (8 if index >= 4 else 0)


def element_of_b(lane: int, index: int) -> tuple[int, int]:
    return lane % 4 * 2 + index % 2 + (8 if index >= 2 else 0), lane // 4


def element_of_sums(lane: int, index: int) -> tuple[int, int]:
    return lane // 4 + (8 if index >= 2 else 0), lane % 4 * 2 + index % 2


def pieces(matrix: np.ndarray, element_of, count: int) -> np.ndarray:
    return np.array(
        [[matrix[element_of(lane, index)] for index in range(count)] for lane in range(32)], matrix.dtype
    )


def product_error(device: Device, folder, K: int, a_element=element_of_a) -> float:
    """The largest difference from a @ b + c; `a_element` says which element a lane is given."""
    rng = np.random.default_rng(K)
    a, b = (rng.integers(-8, 9, shape).astype(np.float16) for shape in ((16, K), (K, 8)))
    c = rng.integers(-99, 99, (16, 8)).astype(np.float32)
    arrays = pieces(a, a_element, K // 2), pieces(b, element_of_b, K // 4), pieces(c, element_of_sums, 4)
    out = device.empty((32, 4), np.float32)
    assert HandWritten(text_of(K), folder).launch(32, *map(device.put, arrays), out) == ""
    expected = pieces(a.astype(np.float32) @ b.astype(np.float32) + c, element_of_sums, 4)
    return float(abs(out.get() - expected).max())


@pytest.mark.parametrize("K", [8, 16])
def test_a_product_of_whole_numbers_is_exact(device, folder, K):
    assert product_error(device, folder, K) == 0


@pytest.mark.parametrize("K", [8, 16])
def test_rows_in_each_others_place_are_seen(device, folder, K):
    def swapped(lane: int, index: int) -> tuple[int, int]:
        row, column = element_of_a(lane, index)
        return (row + 8) % 16, column

    assert product_error(device, folder, K, swapped) > 0


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ("m16n8k8", "registers of mma.sync that do not fit"),
        ("m8n8k4", "only mma.sync of m16n8k8 and m16n8k16"),
    ],
)
def test_another_shape_is_refused(folder, shape, words):
    with pytest.raises(PtxError, match=words):
        HandWritten(text_of(16, shape), folder)


# Every lane writes 16 bytes of shared memory and gives their address, `off` bytes further.
LOAD = """
.entry load_matrices(.param .u64 x, .param .u64 out, .param .u32 off) {
  .reg .b32 %r<9>; .reg .b32 %w<4>; .reg .b64 %rd<9>;
  .shared .align 16 .b8 rows[528];
  mov.u32 %r1, %tid.x;
  ld.param.u64 %rd1, [x]; mul.wide.u32 %rd2, %r1, 16; add.s64 %rd1, %rd1, %rd2;
  ld.param.u64 %rd3, [out]; add.s64 %rd3, %rd3, %rd2;
  ld.param.u32 %r2, [off];
  shl.b32 %r3, %r1, 4; mov.u32 %r4, rows; add.s32 %r4, %r4, %r3;
  ld.global.v4.b32 {%w0, %w1, %w2, %w3}, [%rd1];
  st.shared.v4.b32 [%r4], {%w0, %w1, %w2, %w3};
  BARRIER
  add.s32 %r4, %r4, %r2;
  ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%w0, %w1, %w2, %w3}, [%r4];
  st.global.v4.b32 [%rd3], {%w0, %w1, %w2, %w3};
}
"""


def loaded(device: Device, folder, barrier: str = "bar.warp.sync -1;", off: int = 0):
    words = np.arange(128, dtype=np.uint32).reshape(32, 4)
    out = device.empty((32, 4), np.uint32)
    sentence = HandWritten(LOAD.replace("BARRIER", barrier), folder).launch(32, device.put(words), out, off)
    return sentence, out.get()


def test_a_lane_gets_a_word_of_each_matrix(device, folder):
    sentence, words = loaded(device, folder)
    assert sentence == ""
    expected = [[4 * (8 * matrix + lane // 4) + lane % 4 for matrix in range(4)] for lane in range(32)]
    np.testing.assert_array_equal(words, expected)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"off": 4}, "a row of ldmatrix that is not aligned to 16 bytes"),
        ({"off": 16}, "where no thread has written"),
        ({"barrier": ""}, "race in shared memory|where no thread has written"),
    ],
)
def test_a_wrong_load_is_reported(device, folder, wrong, words):
    sentence, _ = loaded(device, folder, **wrong)
    assert re.search(words, sentence), sentence


@pytest.mark.parametrize("form", ["x2.shared", "x4.trans.shared", "x4"])
def test_another_load_is_refused(folder, form):
    with pytest.raises(PtxError, match="ldmatrix"):
        HandWritten(LOAD.replace("BARRIER", "").replace("x4.shared", form), folder)

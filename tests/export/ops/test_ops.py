"""The torch ops: values against the oracle, gradients, registration, compilation, errors."""

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from msdk_export.ops import kan_spline, scan_segments
from msdk_export.ops.directional_conv1d import directional_conv1d
from msdk_export.ops.directions import parse_directions, to_steps, to_tokens
from msdk_export.ops.kan_linear import kan_linear
from msdk_export.ops.selective_scan import bidirectional_selective_scan
from msdk_rt.errors import InputError
from tests.support import cases, grids, oracle

SCANS = [case for case in grids.scan_grid(max_updates=300_000, seed=11) if case.L < 32768]
LONG_SCAN = cases.ScanCase(
    B=1, K=2, D=16, L=32768, N=8, R=3, directions="backward,slices:32",
    has_z=True, scale=0.5, seed=14, extreme=False,
)  # fmt: skip
TRAINABLE = [
    ("forward", 1, True),
    ("forward,backward", 7, True),
    ("forward,slices:4,backward", 8, False),
    ("slices:3:backward,backward,forward,slices:2", 6, True),
]


def tensors(case, dtype=torch.float32):
    return [None if a is None else torch.from_numpy(a).to(dtype) for a in case.inputs().values()]


def trainable(inputs):
    return [x.requires_grad_() if isinstance(x, torch.Tensor) else x for x in inputs]


def scan_arguments(directions, length, gated, dtype=torch.float64):
    case = cases.ScanCase(
        B=2, K=directions.count(",") + 1, D=3, L=length, N=2, R=2, directions=directions,
        has_z=gated, scale=0.5, seed=length, extreme=False,
    )  # fmt: skip
    return [*trainable(tensors(case, dtype)), directions, case.scale]


def conv_arguments(directions, length, dtype=torch.float64):
    case = cases.ConvCase(
        B=2, K=directions.count(",") + 1, D=3, L=length, W=4, directions=directions, seed=length
    )
    return [*trainable(tensors(case, dtype)), directions]


def kan_arguments(length, dtype=torch.float64):
    case = cases.KanCase(B=2, C=3, O=2, L=length, G=8, grid_min=-1.0, grid_max=1.5, seed=length)
    return [*trainable(tensors(case, dtype)), case.grid_min, case.grid_max]


@pytest.fixture
def small_blocks(monkeypatch):
    """Several segments, and a chunk that is cut short, even in a case of a few tokens."""
    monkeypatch.setattr(scan_segments, "SEGMENT_BYTES", 600)
    monkeypatch.setattr(scan_segments, "CHUNK_TOKENS", 3)
    monkeypatch.setattr(kan_spline, "BLOCK_BYTES", 600)


def assert_close(actual, expected, relative_l2=2e-6):
    assert actual.shape == expected.shape
    error = np.linalg.norm(actual - expected) / max(np.linalg.norm(expected), 1e-30)
    assert error <= relative_l2
    np.testing.assert_allclose(actual, expected, rtol=6e-4, atol=2e-3)


@pytest.mark.parametrize("case", [*SCANS, LONG_SCAN], ids=str)
def test_scan_is_the_oracle(case):
    y = bidirectional_selective_scan(*tensors(case), case.directions, case.scale)
    expected = oracle.bidirectional_selective_scan(
        **case.inputs(), directions=case.directions, scale=case.scale
    )
    assert_close(y.numpy(), expected)


@pytest.mark.parametrize("case", grids.conv_grid(seed=12), ids=str)
def test_conv_is_the_oracle(case):
    u = directional_conv1d(*tensors(case), case.directions)
    assert_close(u.numpy(), oracle.directional_conv1d(**case.inputs(), directions=case.directions))


@pytest.mark.parametrize("case", grids.kan_grid(seed=13), ids=str)
def test_kan_is_the_oracle(case):
    y = kan_linear(*tensors(case), case.grid_min, case.grid_max)
    expected = oracle.kan_linear(**case.inputs(), grid_min=case.grid_min, grid_max=case.grid_max)
    assert_close(y.numpy(), expected)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize(("directions", "length", "gated"), TRAINABLE)
def test_scan_gradients(directions, length, gated):
    arguments = scan_arguments(directions, length, gated)
    assert torch.autograd.gradcheck(bidirectional_selective_scan, arguments)


@pytest.mark.parametrize(("directions", "length", "gated"), TRAINABLE)
def test_conv_gradients(directions, length, gated):
    assert torch.autograd.gradcheck(directional_conv1d, conv_arguments(directions, length))


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("length", [1, 7])
def test_kan_gradients(length):
    assert torch.autograd.gradcheck(kan_linear, kan_arguments(length))


def test_scan_gradients_do_not_depend_on_segments_and_chunks(monkeypatch):
    gradients = []
    for segment_bytes, chunk_tokens in ((1, 1), (5000, 16), (1, 7), (5000, 5), (1 << 30, 200)):
        monkeypatch.setattr(scan_segments, "SEGMENT_BYTES", segment_bytes)
        monkeypatch.setattr(scan_segments, "CHUNK_TOKENS", chunk_tokens)
        arguments = scan_arguments("forward,backward", 129, True)
        bidirectional_selective_scan(*arguments).square().sum().backward()
        gradients.append([a.grad for a in arguments[:7]])
    for segmented in gradients[:-1]:
        torch.testing.assert_close(segmented, gradients[-1], rtol=1e-10, atol=1e-12)


def test_training_step_repeats_bit_for_bit():
    results = []
    for _ in range(2):
        scan = scan_arguments("forward,backward", 1031, True, torch.float32)
        kan = kan_arguments(1031, torch.float32)
        y = bidirectional_selective_scan(*scan), kan_linear(*kan)
        sum(output.square().sum() for output in y).backward()
        results.append([*y, *(leaf.grad for leaf in (*scan[:7], *kan[:3]))])
    assert all(first.equal(second) for first, second in zip(*results, strict=True))


@pytest.mark.parametrize(("directions", "length", "gated"), TRAINABLE)
def test_opcheck(directions, length, gated):
    float32 = torch.float32
    torch.library.opcheck(bidirectional_selective_scan, scan_arguments(directions, length, gated, float32))
    torch.library.opcheck(directional_conv1d, conv_arguments(directions, length, float32))
    torch.library.opcheck(kan_linear, kan_arguments(length, float32))


class LargestTensor(TorchDispatchMode):
    """Remembers the element count of the largest tensor any operation returns."""

    def __init__(self):
        super().__init__()
        self.numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, (tuple, list)) else [out]:
            if isinstance(tensor, torch.Tensor):
                self.numel = max(self.numel, tensor.numel())
        return out


def test_no_tensor_of_all_tokens_and_states(monkeypatch):
    monkeypatch.setattr(scan_segments, "SEGMENT_BYTES", 1 << 16)
    case = cases.ScanCase(
        B=1, K=2, D=16, L=2048, N=16, R=3, directions="forward,backward",
        has_z=True, scale=1.0, seed=2, extreme=False,
    )  # fmt: skip
    inputs, paths = scan_segments.ScanInputs(*tensors(case)), parse_directions(case.directions)
    with LargestTensor() as largest:
        y = scan_segments.scan_forward(inputs, paths, case.scale)
        scan_segments.scan_backward(torch.ones_like(y), inputs, paths, case.scale)
    x_dbl_numel = case.K * (2 * case.N + case.R) * case.L
    assert largest.numel <= x_dbl_numel < case.updates // 7


def test_half_precision_keeps_its_type_and_the_state_in_float32():
    arguments = [a.detach() if isinstance(a, torch.Tensor) else a for a in scan_arguments(*TRAINABLE[1])]
    half = [a.half() if i in (0, 1, 6) else a.float() for i, a in enumerate(arguments[:7])]
    y = bidirectional_selective_scan(*half, *arguments[7:])
    exact = oracle.bidirectional_selective_scan(*(a.numpy() for a in half), *arguments[7:])
    assert y.dtype == torch.float16
    np.testing.assert_allclose(y.numpy(), exact, rtol=2**-10, atol=1e-6)


class ThreeOps(torch.nn.Module):
    """One block that uses every op, gated and not."""

    def __init__(self):
        super().__init__()
        conv = cases.ConvCase(B=1, K=2, D=5, L=24, W=4, directions="", seed=1).inputs()
        scan = cases.ScanCase(1, 2, 5, 24, 4, 3, "", False, 1.0, 2, False).inputs()
        kan = cases.KanCase(B=1, C=5, O=6, L=24, G=8, grid_min=-1.0, grid_max=1.0, seed=3).inputs()
        weights = {"conv_weight": conv["weight"], "conv_bias": conv["bias"]}
        weights |= {name: scan[name] for name in ("dt_weight", "dt_bias", "A", "D_skip")}
        weights |= {name: kan[name] for name in ("base_weight", "spline_weight")}
        weights["x_proj"] = np.random.default_rng(4).standard_normal((2, 11, 5), dtype=np.float32)
        for name, weight in weights.items():
            self.register_parameter(name, torch.nn.Parameter(torch.from_numpy(weight)))

    def forward(self, image):
        x = image.flatten(2)
        u = torch.ops.msdk.directional_conv1d(x, self.conv_weight, self.conv_bias, "forward,backward")
        rows = self.x_proj @ u
        scan = (self.dt_weight, self.dt_bias, self.A, self.D_skip)
        y = torch.ops.msdk.bidirectional_selective_scan(u, rows, *scan, x, "forward,backward", 0.5)
        y = y + torch.ops.msdk.bidirectional_selective_scan(u, rows, *scan, None, "forward,slices:4", 1.0)
        y = torch.ops.msdk.kan_linear(y, self.base_weight, self.spline_weight, -1.0, 1.0)
        return y.unflatten(2, image.shape[2:])


def test_compiled_training_step_is_the_eager_one():
    block, image = ThreeOps(), torch.randn(2, 5, 4, 3, 2)
    gradients = []
    for step in (block, torch.compile(block, fullgraph=True, backend="aot_eager")):
        block.zero_grad()
        step(image).square().sum().backward()
        gradients.append([p.grad.clone() for p in block.parameters()])
    torch.testing.assert_close(gradients[0], gradients[1])


def test_exported_program_has_dynamic_batch():
    block, image = ThreeOps().eval(), torch.randn(2, 5, 4, 3, 2)
    program = torch.export.export(block, (image,), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},))
    larger = torch.randn(3, 5, 4, 3, 2)
    torch.testing.assert_close(program.module()(larger), block(larger))


@pytest.mark.parametrize("direction", parse_directions("forward,backward,slices:5,slices:4:backward"))
def test_steps_and_tokens_are_inverse_and_the_oracles(direction):
    tokens = torch.arange(60).view(3, 20)
    steps = to_steps(tokens, direction)
    assert steps[1].tolist() == tokens[1].numpy()[oracle.permutation(direction, 20)].tolist()
    assert to_tokens(steps, direction).equal(tokens)


@pytest.mark.parametrize(
    "directions",
    ["", "forwards", "forward,", "slices", "slices:0", "slices:-2", "slices:2:forward", "Forward"],
)
def test_unknown_direction(directions):
    with pytest.raises(InputError, match=r"unknown direction .*write e.g."):
        directional_conv1d(torch.zeros(1, 2, 4), torch.zeros(1, 2, 3), torch.zeros(1, 2), directions)


@pytest.mark.parametrize(
    ("position", "shape", "message"),
    [
        (0, (2, 3, 3, 8), r"u: expected shape \(2, 2, 3, 8\) = \(B, K, D, L\), got \(2, 3, 3, 8\)"),
        (0, (3, 8), r"u: expected 4 axes, got shape \(3, 8\)"),
        (1, (2, 2, 7, 8), r"x_dbl: expected shape \(2, 2, 6, 8\) = \(B, K, R \+ 2N, L\), got \(2, 2, 7, 8\)"),
        (2, (2, 4, 2), "dt_weight: expected"),
        (3, (2,), r"dt_bias: expected shape \(2, 3\) = \(K, D\), got \(2,\)"),
        (4, (2, 4, 2), "A: expected"),
        (5, (2, 4), "D_skip: expected"),
        (6, (2, 3, 9), r"z: expected shape \(2, 3, 8\) = \(B, D, L\), got \(2, 3, 9\)"),
    ],
)
def test_scan_names_the_tensor_that_does_not_fit(position, shape, message):
    arguments = scan_arguments("forward,backward", 8, True)
    arguments[position] = torch.zeros(shape)
    with pytest.raises(InputError, match=message):
        bidirectional_selective_scan(*arguments)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda z: directional_conv1d(z(1, 2, 8), z(1, 2, 3), z(1, 2), "forward,backward"),
            "weight: exp",
        ),
        (
            lambda z: directional_conv1d(z(1, 2, 8), z(1, 2, 3), z(2, 2), "forward"),
            "bias: expected shape",
        ),
        (lambda z: directional_conv1d(z(1, 2, 8), z(1, 2, 3), z(1, 2), "slices:3"), "got L = 8: choose"),
        (lambda z: kan_linear(z(1, 2, 8), z(3, 4), z(3, 4, 8), -1, 1), r"base_weight: .*\(3, 2\)"),
        (lambda z: kan_linear(z(1, 2, 8), z(3, 2), z(3, 4, 8), -1, 1), r"spline_weight: .*\(3, 2, 8\)"),
        (lambda z: kan_linear(z(1, 2, 8), z(3, 2), z(3, 2, 3), -1, 1), "at least 4 cubic bases"),
        (lambda z: kan_linear(z(1, 2, 8), z(3, 2), z(3, 2, 8), 1, 1), "expected grid_min < grid_max"),
    ],
)
def test_misfits_are_input_errors(call, message):
    with pytest.raises(InputError, match=message):
        call(torch.zeros)

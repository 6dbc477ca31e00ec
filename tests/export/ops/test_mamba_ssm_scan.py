"""Training on mamba_ssm's scan: the adaptor against the msdk op, and when it is chosen.

The CUDA kernel needs a GPU. `published_scan` stands in for it: the formula mamba_ssm publishes for
selective_scan_fn, with its signature, layouts and requirements, in plain PyTorch under autograd.
"""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from msdk_export.layers import BiMamba, CrossScan
from msdk_export.ops import mamba_ssm_scan
from msdk_export.ops.selective_scan import bidirectional_selective_scan
from msdk_rt.errors import InputError
from tests.support import cases

NAMES = ("u", "x_dbl", "dt_weight", "dt_bias", "A", "D_skip", "z")
SCANS = [
    # directions, B, D, L, N, R, gated, scale
    ("forward", 1, 1, 1, 1, 1, True, 1.0),
    ("forward,backward", 2, 5, 37, 3, 2, True, 0.5),
    ("backward,slices:7", 1, 6, 63, 17, 1, False, 1.0),
    ("forward,backward,slices:5", 2, 4, 45, 8, 3, True, 1.0),
    ("slices:3:backward,forward,slices:9,backward", 3, 3, 27, 4, 2, False, 0.25),
]


def published_scan(
    u, delta, A, B, C, D=None, z=None, delta_bias=None, delta_softplus=False, return_last_state=False
):
    """u, delta, z (B,D,L), A (D,N), B, C (B,N,L) or (B,G,N,L), D, delta_bias (D) -> (B,D,L).

    Refuses what the CUDA kernel's own checks refuse: types other than its own, rows that are not contiguous.
    """
    assert u.dtype == delta.dtype == B.dtype == C.dtype
    assert u.dtype in (torch.float32, torch.float16, torch.bfloat16)
    assert all(weight.dtype == torch.float32 for weight in (A, D, delta_bias))
    assert all(rows.stride(-1) == 1 or rows.shape[-1] == 1 for rows in (u, delta, B, C, D, delta_bias))
    batch, channels, length = u.shape
    assert delta.shape == u.shape
    assert B.shape == C.shape
    assert (A.shape[0], D.shape, delta_bias.shape) == (channels, (channels,), (channels,))
    if B.dim() == 3:
        B, C = B.unsqueeze(1), C.unsqueeze(1)
    assert (B.shape[0], *B.shape[2:]) == (batch, A.shape[1], length)
    each = channels // B.shape[1]
    B, C = B.repeat_interleave(each, dim=1), C.repeat_interleave(each, dim=1)

    delta = delta + delta_bias[:, None]
    if delta_softplus:
        delta = F.softplus(delta)
    state, outputs = u.new_zeros(batch, channels, A.shape[1]), []
    for t in range(length):
        step = delta[:, :, t, None]
        state = torch.exp(step * A) * state + step * B[..., t] * u[:, :, t, None]
        outputs.append((state * C[..., t]).sum(-1))
    out = torch.stack(outputs, dim=2) + D[:, None] * u
    if z is not None:
        out = out * F.silu(z)
    return (out, state) if return_last_state else out


def scan_inputs(directions, B, D, L, N, R, gated, scale, dtype=torch.float32):
    case = cases.ScanCase(B, directions.count(",") + 1, D, L, N, R, directions, gated, scale, L + N, False)
    inputs = [None if a is None else torch.from_numpy(a) for a in case.inputs().values()]
    return [None if a is None else a.to(dtype if i in (0, 1, 6) else a.dtype) for i, a in enumerate(inputs)]


def loss_and_gradients(scan, inputs, directions, scale):
    leaves = [None if a is None else a.clone().requires_grad_() for a in inputs]
    y = scan(*leaves, directions, scale)
    target = torch.linspace(-1, 2, y.numel()).view(y.shape)
    loss = (y.float() - target).square().mean()
    loss.backward()
    return y, loss, {name: a.grad for name, a in zip(NAMES, leaves, strict=True) if a is not None}


def by_published_scan(*arguments):
    return mamba_ssm_scan.scan_with(published_scan, *arguments)


def relative_l2(found, expected):
    return ((found - expected).double().norm() / expected.double().norm().clamp(min=1e-30)).item()


@pytest.mark.parametrize("scan", SCANS, ids=lambda scan: scan[0])
def test_adaptor_is_the_op(scan):
    directions, *_, scale = scan
    inputs = scan_inputs(*scan)
    y, loss, gradients = loss_and_gradients(by_published_scan, inputs, directions, scale)
    expected_y, expected_loss, expected = loss_and_gradients(
        bidirectional_selective_scan, inputs, directions, scale
    )
    assert relative_l2(y, expected_y) < 1e-5
    assert loss.item() == pytest.approx(expected_loss.item(), rel=1e-4)
    assert set(gradients) == set(expected)
    for name, gradient in gradients.items():
        assert gradient.shape == expected[name].shape
        assert relative_l2(gradient, expected[name]) < 1e-3, name


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_adaptor_keeps_states_in_float32_under_autocast(dtype):
    directions, *_, scale = SCANS[1]
    inputs = scan_inputs(*SCANS[1], dtype=dtype)
    with torch.autocast("cpu", dtype):
        y, loss, gradients = loss_and_gradients(by_published_scan, inputs, directions, scale)
        _, expected_loss, expected = loss_and_gradients(
            bidirectional_selective_scan, inputs, directions, scale
        )
    assert y.dtype == dtype
    assert loss.item() == pytest.approx(expected_loss.item(), rel=1e-4)
    for name, gradient in gradients.items():
        assert gradient.dtype == expected[name].dtype
        assert relative_l2(gradient, expected[name]) < 1e-2, name


def test_adaptor_names_the_tensor_that_does_not_fit():
    inputs = scan_inputs(*SCANS[1])
    inputs[3] = inputs[3][:, 1:]
    with pytest.raises(InputError, match="dt_bias: expected shape"):
        by_published_scan(*inputs, "forward,backward", 0.5)


@pytest.fixture
def calls(monkeypatch):
    """Calls of an installed selective_scan_fn, whose tensors may be on this machine's device."""
    calls = []

    def selective_scan_fn(*args, **kwargs):
        calls.append(args)
        return published_scan(*args, **kwargs)

    monkeypatch.setattr(mamba_ssm_scan, "KERNEL_DEVICE", "cpu")
    monkeypatch.setattr(mamba_ssm_scan, "installed_selective_scan_fn", lambda: selective_scan_fn)
    return calls


def block_and_tokens(d_state=3, dtype=torch.float32):
    torch.manual_seed(d_state)
    block = BiMamba(6, d_state=d_state, directions="forward,backward,slices:3").to(dtype)
    return block, torch.randn(2, 6, 9, dtype=dtype)


def test_a_layer_trains_on_it_in_one_call(calls, monkeypatch):
    block, tokens = block_and_tokens()
    gradients = []
    for device in ("cpu", "cuda"):
        monkeypatch.setattr(mamba_ssm_scan, "KERNEL_DEVICE", device)
        block.zero_grad()
        block(tokens).square().sum().backward()
        gradients.append({name: p.grad.clone() for name, p in block.named_parameters()})
    assert len(calls) == 1
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-3, atol=1e-5)


def test_cross_scan_trains_on_it(calls):
    scan = CrossScan(channels=4, d_state=3, dt_rank=2)
    for parameter in scan.parameters():
        nn.init.normal_(parameter, std=0.1)
    scan(torch.randn(1, 4, 3, 5)).sum().backward()
    assert len(calls) == 1
    assert scan.A_logs.grad.abs().sum() > 0


def test_not_chosen_on_another_device(calls, monkeypatch):
    monkeypatch.undo()
    assert mamba_ssm_scan.KERNEL_DEVICE == "cuda"
    block, tokens = block_and_tokens()
    block(tokens).sum().backward()
    assert not calls


def test_not_chosen_without_gradients(calls):
    block, tokens = block_and_tokens()
    with torch.no_grad():
        block(tokens)
    with torch.inference_mode():
        block(tokens)
    block.requires_grad_(False)(tokens)
    assert not calls


@pytest.mark.parametrize("unfit", [{"dtype": torch.float64}, {"d_state": 257}], ids=str)
def test_not_chosen_where_the_kernel_cannot(calls, unfit):
    block, tokens = block_and_tokens(**unfit)
    block(tokens)
    assert not calls


@pytest.mark.parametrize("strict", [False, True])
def test_not_chosen_in_export(calls, strict):
    block, tokens = block_and_tokens()
    program = torch.export.export(block, (tokens,), strict=strict)
    assert torch.ops.msdk.bidirectional_selective_scan.default in [n.target for n in program.graph.nodes]
    assert not calls


def test_not_chosen_in_compilation(calls):
    block, tokens = block_and_tokens()
    torch.compile(block, fullgraph=True, backend="aot_eager")(tokens).sum().backward()
    assert not calls


def test_not_installed_is_the_op(calls, monkeypatch):
    block, tokens = block_and_tokens()
    by_kernel = block(tokens)
    monkeypatch.setattr(mamba_ssm_scan, "installed_selective_scan_fn", lambda: None)
    torch.testing.assert_close(block(tokens), by_kernel)
    assert len(calls) == 1


def test_a_broken_installation_counts_as_none(monkeypatch, tmp_path):
    interface = tmp_path / "mamba_ssm" / "ops" / "selective_scan_interface.py"
    interface.parent.mkdir(parents=True)
    interface.write_text("import a_compiled_module_that_is_not_there\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert mamba_ssm_scan.installed_selective_scan_fn.__wrapped__() is None

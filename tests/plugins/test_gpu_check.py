"""The parts of `make gpu-check` that need no GPU: checks on the emulator, peers on the CPU, the report."""

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tests.gpu import array_checks, benchmark, check, op_checks, peers, profile, rates
from tests.gpu.device import Device, DeviceError
from tests.gpu.marked_tests import run_marked
from tests.gpu.report import Report, Skip
from tests.support import oracle
from tests.support.cases import ConvCase, KanCase, ScanCase

ROOT = Path(__file__).resolve().parents[2]
EMULATOR, GPU, PLUGINS = ROOT / "tests/cuda_emulator", ROOT / "tests/gpu", ROOT / "plugins"
CASE = ScanCase(B=1, K=2, D=5, L=43, N=8, R=2, directions="forward,backward", has_z=True, scale=1.0, seed=51,
                extreme=False)  # fmt: skip


@pytest.fixture(scope="module")
def ops(tmp_path_factory):
    folder = tmp_path_factory.mktemp("emulated")
    command = [
        os.environ.get("CXX", "g++"),
        "-std=gnu++17",
        "-O1",
        "-fPIC",
        "-shared",
        "-Wno-unknown-pragmas",
    ]
    command += [f"-I{EMULATOR}", f"-I{PLUGINS}", "-x", "c++"]
    kernels = [*sorted(PLUGINS.glob("ops/*/cuda.cu")), PLUGINS / "ops/directions.cpp", GPU / "ops.cpp"]
    for name, sources in (("check_device", [GPU / "device.cu"]), ("check_ops", kernels)):
        library = folder / f"lib{name}.so"
        subprocess.run([*command, EMULATOR / "emulator.cpp", *sources, "-o", library], check=True)
    return op_checks.Ops(Device(folder))


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_the_checks_pass_on_the_emulator(ops, dtype):
    """Through the same C interface as on a GPU: every field and pointer arrives."""
    op_checks.check_scan(ops, CASE, dtype)
    conv = ConvCase(B=2, K=3, D=3, L=35, W=4, directions="backward,slices:7,forward", seed=52)
    op_checks.check_conv(ops, conv, dtype)
    kan = KanCase(B=2, C=3, O=5, L=17, G=8, grid_min=-0.5, grid_max=2.0, seed=53)
    op_checks.check_kan(ops, kan, dtype)


def test_repeats_are_compared_bit_for_bit(ops, monkeypatch):
    assert op_checks.check_repeats(ops, CASE, 3) == 3
    enqueue = op_checks.ScanCall.enqueue
    calls = []

    def differ_at_the_third(call, stream=None):
        enqueue(call, stream)
        calls.append(call)
        if len(calls) == 3:
            call.y.fill(0)

    monkeypatch.setattr(op_checks.ScanCall, "enqueue", differ_at_the_third)
    with pytest.raises(AssertionError, match="run 3 of 4 differs"):
        op_checks.check_repeats(ops, CASE, 3)


def test_a_wrong_result_is_not_close():
    expected = np.linspace(-3, 3, 50)
    for dtype, wrong in ((np.float32, 1e-4), (np.float16, 3e-2)):
        op_checks.check_close(expected.astype(dtype), expected, 2e-6, "case")
        with pytest.raises(AssertionError):
            op_checks.check_close((expected + wrong).astype(dtype), expected, 2e-6, "case")
    beyond = np.array([1.0, 70000.0])
    op_checks.check_close(np.array([1, np.inf], np.float16), beyond, 2e-6, "overflow is infinite")
    with pytest.raises(AssertionError):
        op_checks.check_close(np.array([1, 65504], np.float16), beyond, 2e-6, "case")


def test_a_refusal_is_raised_with_its_sentence(ops):
    with pytest.raises(DeviceError, match="divide the number of tokens"):
        ops.scan(CASE.inputs(), "forward,slices:5", 1.0).enqueue()


def selective_scan_fn(u, delta, A, B, C, D, z, delta_bias, delta_softplus):
    """Compute what mamba-ssm's function of this name computes, a step at a time."""
    assert delta_softplus
    delta = F.softplus(delta + delta_bias[:, None])
    h, steps = torch.zeros(u.shape[0], *A.shape, dtype=u.dtype), []
    for t in range(u.shape[2]):
        h = torch.exp(delta[:, :, t, None] * A) * h + (delta * u)[:, :, t, None] * B[:, None, :, t]
        steps.append((h * C[:, None, :, t]).sum(-1))
    return F.silu(z) * (torch.stack(steps, -1) + D[:, None] * u)


def test_the_peer_of_the_convolution_computes_what_the_op_does():
    case = ConvCase(B=2, K=2, D=3, L=19, W=4, directions="forward,backward", seed=54)

    def causal_conv1d_fn(x, weight, bias, activation):
        assert activation == "silu"
        padded = F.pad(x, (weight.shape[1] - 1, 0))
        return F.silu(F.conv1d(padded, weight[:, None], bias, groups=len(weight)))

    inputs = case.inputs()
    tensors = {name: torch.from_numpy(array) for name, array in inputs.items()}
    u = peers.causal_conv1d(causal_conv1d_fn, **tensors).numpy()
    np.testing.assert_allclose(
        u, oracle.directional_conv1d(**inputs, directions=case.directions), rtol=1e-4, atol=1e-5
    )


def test_the_floor_is_that_of_the_page_on_the_kernels():
    """docs/explanation/cuda-kernels.md counts an H100: 132 SMs at 1.7 GHz, 3.35 TB/s."""
    h100 = rates.Rates(sms=132, clock=1.7e9, bandwidth=3.35e12)
    assert h100.floor_ms(benchmark.work_of("scan", 262144)) == pytest.approx(0.224, abs=5e-4)
    assert h100.floor_ms(benchmark.work_of("conv", 262144)) == pytest.approx(0.045, abs=5e-4)
    assert h100.floor_ms(benchmark.work_of("kan", 262144)) == pytest.approx(0.030, abs=5e-4)
    assert h100.floor_ms(benchmark.work_of("kan in float32", 262144)) == pytest.approx(0.757, abs=5e-4)


def test_times_are_told_beside_their_floors_and_peers():
    timings = [
        benchmark.Timing(op, who, length, ms, ms, ms)
        for length in (100, 1000)
        for op, who, ms in (("scan", "msdk", 2.0), ("scan", "peer", 5.0), ("conv", "msdk", 1.0))
    ]
    one = rates.Rates(sms=1, clock=16e6, bandwidth=1e9)
    rows = [benchmark.row_of(timing, one) for timing in timings]
    assert rows[-3]["over_floor"] == pytest.approx(2.0 / (2 * 96 * 1000 * 16 / (16 * 16e6) * 1e3))
    assert rows[-1]["gb_s"] == pytest.approx(3 * 96 * 1000 * 2 / 1e-3 / 1e9)
    said = benchmark.comparison(rows, [benchmark.Missing("conv", "other", 100, "it is not installed")])
    assert "scan 2.000 ms at L = 1000, 0.17 times its floor" in said
    assert "peer 2.5 times that" in said
    assert "no other for the conv: it is not installed" in said


def test_a_peer_that_is_left_out_is_told(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    everyone = ("mamba-ssm twice", "torch.compile")
    gaps = list(benchmark.peers_of("scan", 4, {}, np.ones(4), everyone))
    assert gaps == [benchmark.Missing("scan", who, 4, "left out") for who in everyone]


@pytest.mark.parametrize("who", ["mamba-ssm", "torch"])
def test_the_peers_compute_what_the_op_does(who):
    inputs = CASE.inputs()
    tensors = {name: torch.from_numpy(array).double() for name, array in inputs.items()}
    if who == "torch":
        y = peers.associative_scan(**{n: t.float() for n, t in tensors.items()}, combine_mode="generic")
    else:
        y = peers.mamba_ssm_scan(selective_scan_fn, **tensors)
    expected = oracle.bidirectional_selective_scan(**inputs, directions=CASE.directions, scale=1.0)
    np.testing.assert_allclose(y.double().numpy(), expected, rtol=1e-4, atol=1e-5)


def test_a_peer_that_fails_or_computes_something_else_is_missing():
    expected = np.ones(4)
    right = benchmark.peer_at(
        "scan", "peer", 4, lambda: torch.ones(4), expected, lambda call: [1.0, 3.0, 2.0]
    )
    assert (right.op, right.who, right.length, right.median_ms) == ("scan", "peer", 4, 2.0)
    wrong = benchmark.peer_at("scan", "peer", 4, lambda: torch.zeros(4), expected, None)
    assert wrong.reason == "computed something else: relative error 1.0e+00"

    def fails():
        raise RuntimeError("out of memory\nand a traceback")

    assert benchmark.peer_at("scan", "peer", 4, fails, expected, None).reason == "RuntimeError: out of memory"


def test_the_report_tells_passed_failed_and_skipped(tmp_path, capsys):
    def skip():
        raise Skip("no | sanitizer")

    report = Report("make something", machine={"GPU": "none"})
    assert report.run("first", lambda: "3 cases")
    assert not report.run("second", skip)
    assert not report.failed
    assert not report.run("third", lambda: 1 / 0)
    assert report.failed
    report.add("kernels", {"who": "msdk", "median_ms": 0.123456})
    report.write(tmp_path)
    summary = (tmp_path / "summary.md").read_text()
    assert "| first | passed | 0.0 | 3 cases |" in summary
    assert "| second | skipped | 0.0 | no / sanitizer |" in summary
    assert "| third | FAILED | 0.0 | ZeroDivisionError: division by zero |" in summary
    assert "| msdk | 0.1235 |" in summary
    assert (tmp_path / "kernels.csv").read_text().splitlines() == [
        "who,median_ms,GPU",
        "msdk,0.123456,none",
    ]
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_marked_tests_pass_or_the_step_fails(tmp_path):
    """On a GPU a skip is a failure: it shows nothing. So are no tests at all, and one that fails."""
    marked = "import pytest\n@pytest.mark.gpu\ndef test_it(): {}\ndef test_other(): 1 / 0\n"
    for body, outcome in (
        ("pass", "1 passed, 1 deselected"),
        ("pytest.skip('no GPU')", "a test for a GPU was skipped on one"),
        ("1 / 0", "ZeroDivisionError"),
    ):
        (tmp_path / "test_marked.py").write_text(marked.format(body))
        if body == "pass":
            assert outcome in run_marked([tmp_path])
        else:
            with pytest.raises(RuntimeError, match=outcome):
                run_marked([tmp_path])
    (tmp_path / "test_marked.py").write_text("def test_other(): pass\n")
    with pytest.raises(RuntimeError, match="exited with 5"):
        run_marked([tmp_path])


def test_steps_that_nobody_asked_for_do_not_run():
    report = Report("make something", only=("float32", "graph"))
    for step in ("ops in float32", "ops in float16", "CUDA graph"):
        report.run(step, lambda step=step: step)
    assert [outcome.detail for outcome in report.outcomes] == ["ops in float32", "CUDA graph"]


def test_the_report_is_kept_after_every_step(tmp_path):
    """A crash in the next one must not lose it."""
    report = Report("make something", tmp_path / "report")
    report.run("first", lambda: "3 cases")
    assert "| first | passed | 0.0 | 3 cases |" in (tmp_path / "report" / "summary.md").read_text()
    report.skip("second", "no GPU")
    assert "| second | skipped | 0.0 | no GPU |" in (tmp_path / "report" / "summary.md").read_text()


def test_libraries_of_another_machine_must_be_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="expected libraries in"):
        check.build(1, built=tmp_path)
    (tmp_path / "gpu_libraries").mkdir()
    (tmp_path / "gpu_libraries" / "libcheck_ops.so").touch()
    assert check.build(1, built=tmp_path) == "on another machine: libcheck_ops.so"


def test_what_the_profiler_prints_becomes_rows():
    counters = {
        "Kernel Name": "void unnamed>::outputs_kernel<Half, 8>(Args<T1>, float *)",
        "Grid Size": "(2048, 3, 1)",
        "Block Size": "(32, 1, 1)",
        **dict.fromkeys(profile.COUNTERS.values(), "12.5"),
        "gpu__time_duration.sum": "1,234,000",
        "smsp__average_warps_issue_stalled_barrier_per_issue_active.ratio": "0.1",
        "smsp__average_warps_issue_stalled_wait_per_issue_active.ratio": "2",
        "smsp__average_warps_issue_stalled_mio_throttle_per_issue_active.ratio": "0.5",
        "smsp__average_warps_issue_stalled_no_instruction_per_issue_active.ratio": "",
    }
    lines = [["ID", *counters], ["", *("unit" for _ in counters)], ["0", *counters.values()]]
    printed = "\n".join(",".join(f'"{cell}"' for cell in line) for line in lines)
    (row,) = profile.rows_of(f"==PROF== Connected to process 7\n{printed}\n==PROF== Disconnected\n")
    assert (row["kernel"], row["us"]) == ("outputs_kernel<Half, 8>", 1234.0)
    assert (row["issue %"], row["grid"]) == (12.5, "(2048, 3, 1)")
    assert row["waits for"] == "wait 2.00, mio_throttle 0.50, barrier 0.10"
    with pytest.raises(KeyError, match="Grid Size"):
        profile.rows_of('"ID","Kernel Name"\n"0","kernel"')


class Doubling:
    """A Segmenter of two channels whose labels are computed on the host."""

    class manifest:
        window, channels, resampling, brain_mask = (4, 5, 6), ("first", "second"), None, None

    def count_windows(self, shape):
        return (shape[0] - 2) // 2

    def run(self, volume):
        return (volume[0] > 200).astype(np.uint8)


def test_arrays_of_a_library_give_the_labels_of_the_host(monkeypatch):
    def missing(segmenter, volume):
        raise ImportError(name="cupy")

    exchanges = {"first": lambda segmenter, volume: segmenter.run(volume.copy()), "CuPy": missing}
    monkeypatch.setattr(array_checks, "EXCHANGES", exchanges)
    said = array_checks.check_arrays(Doubling())
    assert said == "labels as of the host's volume: first; not here: cupy"
    exchanges["wrong"] = lambda segmenter, volume: 1 - segmenter.run(volume)
    with pytest.raises(AssertionError, match="wrong"):
        array_checks.check_arrays(Doubling())
    monkeypatch.setattr(array_checks, "EXCHANGES", {"CuPy": missing})
    with pytest.raises(Skip, match="none of cupy is installed"):
        array_checks.check_arrays(Doubling())
